"""A run's folder: the experiment, what it ran on, its levels and what was measured on them.

    <store>/<run>/experiment.toml        the resolved experiment; `sdd run` takes it
    <store>/<run>/record.json            versions of everything that matters, the data's sizes, the
                                         label noise and how many labels it changed
    <store>/<run>/metrics.jsonl          one JSON object a level
    <store>/<run>/levels/00/             weights, masks and epochs, the same files as in the store
"""

from __future__ import annotations

import json
import math
import platform
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from filelock import FileLock

from sdd_core.applied_noise import applied_noise
from sdd_core.errors import SddError
from sdd_core.experiment import Experiment, plugins_of, read_toml
from sdd_core.files import disk_errors, link_or_copy, write_atomic
from sdd_core.keys import FORMAT, run_name
from sdd_core.plugin import label
from sdd_core.plugin_manager import Plugins
from sdd_core.result import LevelResult, Result

# What a row of metrics.jsonl consists of.
ROW = ("level", "key", "measured_by", "sparsity", "density", "diverged", "metrics")
VERSIONS_OF = ("sdd", "torch", "torchvision", "numpy", "numba", "pydantic", "pluggy", "safetensors")


@dataclass(frozen=True)
class Run:
    """One experiment being carried out, with its place on disk."""

    name: str
    folder: Path
    experiment: Experiment

    @classmethod
    def of(cls, experiment: Experiment, store: Path) -> Run:
        """The run of an experiment in a store. Raises SddError: a folder of another version."""
        name = run_name(experiment)
        run = cls(name, store / name, experiment)
        if (run.folder / "record.json").exists():
            check_format(run.folder)
        return run

    def begin(self, plugins: Plugins, device: str, sizes: Mapping[str, int]) -> None:
        """Write down the experiment and what it runs on. Raises SddError.

        sizes: `train_examples`, `test_examples`, and `changed_labels`, how many of the training
            labels the label noise changed.
        """
        file = self.folder / "experiment.toml"
        # A run that once had more levels keeps them.
        levels = max(self.experiment.levels, _levels_in(file))
        experiment = self.experiment.model_copy(update={"levels": levels})
        origins: dict[str, Any] = {
            field: plugins.origin(type(plugin))
            for field, plugin in plugins_of(experiment).items()
        }
        measured = plugins.default_metrics() if experiment.metrics is None else experiment.metrics
        origins["metrics"] = {label(metric): plugins.origin(type(metric)) for metric in measured}
        self._warn_of_versions(origins)
        record = {
            "format": FORMAT,
            "device": device,
            "python": platform.python_version(),
            "platform": platform.platform(),
            "versions": {name: version(name) for name in VERSIONS_OF},
            "plugins": origins,
            "data": dict(sizes),
            "noise": experiment.noise.model_dump(mode="json"),
        }
        write_atomic(self.folder / "record.json", json.dumps(record, indent=1) + "\n")
        # Last, for it is what makes a folder a run.
        write_atomic(file, experiment.to_toml())

    def _warn_of_versions(self, origins: Mapping[str, Any]) -> None:
        """Say on standard error which plugins have another version than when the run began."""
        try:
            record = json.loads((self.folder / "record.json").read_text())
        except FileNotFoundError:
            return
        before, now = _versions(record.get("plugins", {})), _versions(origins)
        changed = sorted({f"{before[part]} (now {now[part]})" for part in before.keys() & now.keys()
                          if before[part] != now[part]})
        if changed:
            print(f"sdd: warning: run {self.name} was begun with {', '.join(changed)}; levels that "
                  "it has are kept, the others are made by what is installed now", file=sys.stderr)

    @property
    def noise(self) -> str:
        """The label noise that was applied, in words; see `Result.noise`."""
        sizes: dict[str, int] = {}
        with suppress(OSError, ValueError, KeyError):
            sizes = json.loads((self.folder / "record.json").read_text())["data"]
        return applied_noise(self.experiment.noise, sizes.get("changed_labels"),
                             sizes.get("train_examples"))

    def known(self) -> dict[int, dict[str, Any]]:
        """The whole rows of `metrics.jsonl`, by level; a word to the user about others."""
        file = self.folder / "metrics.jsonl"
        try:
            lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            return {}
        rows = {}
        for number, line in enumerate(lines, start=1):
            try:
                row = _row(line)
                rows[row["level"]] = row
            except (ValueError, KeyError, TypeError):
                print(f"sdd: warning: line {number} of {file} is damaged; `sdd resume "
                      f"{self.folder}` measures that level again", file=sys.stderr)
        return rows

    def keep(self, row: Mapping[str, Any]) -> None:
        """Add a level's row to the folder. Raises SddError."""
        # Locked, for another process may be carrying out the same run.
        with disk_errors(self.folder), FileLock(self.folder / ".lock"):
            rows = {**self.known(), row["level"]: dict(row)}
            lines = [json.dumps(rows[level], allow_nan=False) + "\n" for level in sorted(rows)]
            write_atomic(self.folder / "metrics.jsonl", "".join(lines))

    def link(self, level: int, files: Mapping[str, Path]) -> None:
        """Make the store's files of a level the folder's. Raises SddError."""
        for name, file in files.items():
            link_or_copy(file, self.folder / "levels" / f"{level:02d}" / name)

    def result(self) -> Result:
        """What has been measured so far, up to the experiment's number of levels."""
        record = json.loads((self.folder / "record.json").read_text())
        levels = tuple(
            replace(level_result(row), epochs=self._epochs(row["level"]))
            for level, row in sorted(self.known().items())
            if level <= self.experiment.levels
        )
        sizes = record["data"]
        return Result(self.name, self.folder, self.experiment, levels, sizes["test_examples"],
                      sizes.get("train_examples"), sizes.get("changed_labels"))

    def _epochs(self, level: int) -> tuple[dict[str, Any], ...]:
        file = self.folder / "levels" / f"{level:02d}" / "epochs.jsonl"
        try:
            return tuple(json.loads(line) for line in file.read_text().splitlines())
        except (OSError, ValueError) as error:
            raise SddError(f"{file} is missing or damaged ({error}); `sdd resume {self.folder}` "
                           "makes it again") from None


def open_run(folder: Path, plugins: Plugins) -> Run:
    """The run in a folder. Raises SddError when there is none or it is of another version."""
    if not (folder / "experiment.toml").is_file():
        raise SddError(f"{folder} is no run folder (it has no experiment.toml); `sdd runs` lists "
                       "the runs in the store")
    check_format(folder)
    experiment = Experiment.make(read_toml(folder / "experiment.toml"), plugins)
    return Run(folder.name, folder, experiment)


def _row(line: str) -> dict[str, Any]:
    """A line of `metrics.jsonl`. Raises ValueError, KeyError or TypeError where it is damaged."""
    read = json.loads(line)
    row = {name: read[name] for name in ROW}
    accuracy = row["metrics"].get("test_accuracy") if isinstance(row["metrics"], dict) else ""
    numbers = [row["sparsity"], row["density"], 0.0 if accuracy is None else accuracy]
    if not isinstance(row["level"], int) or not all(map(math.isfinite, numbers)):
        raise ValueError(line)
    return row


def _levels_in(file: Path) -> int:
    try:
        levels = read_toml(file).get("levels")
    except SddError:
        return 0  # not there yet, or damaged, and then it is written anew
    return levels if isinstance(levels, int) else 0


def check_format(folder: Path) -> None:
    """Raises SddError when a run folder was written by another version of sdd."""
    try:
        found = json.loads((folder / "record.json").read_text())["format"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SddError(f"{folder / 'record.json'} is missing or damaged ({error}); run the "
                       "experiment again with another --store, or delete the folder") from None
    if found != FORMAT:
        raise SddError(f"{folder} has format {found}, this version of sdd reads {FORMAT}; use "
                       "another --store, or the version of sdd that made it")


def _versions(origins: Mapping[str, Any]) -> dict[str, str]:
    """Distribution and version of each plugin in a record, metrics one by one."""
    parts = {**origins, **origins.get("metrics", {})}
    return {part: f"{origin['distribution']} {origin['version']}"
            for part, origin in parts.items() if part != "metrics"}


def level_result(row: Mapping[str, Any]) -> LevelResult:
    """A row of `metrics.jsonl` as a value."""
    return LevelResult(
        row["level"],
        row["key"],
        row["sparsity"],
        row["density"],
        row["diverged"],
        row["metrics"],
    )


def plain(value: Any) -> Any:
    """A metric's value as JSON has it: what is not a finite number is None."""
    if hasattr(value, "tolist"):  # a number or an array of numpy's or torch's
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, bool | int | str) or value is None:
        return value
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    number = float(value)
    return number if math.isfinite(number) else None

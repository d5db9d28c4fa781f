"""A run's folder: the experiment, what it ran on, its levels and what was measured on them.

    <store>/<run>/experiment.toml        the resolved experiment; `sdd run` takes it
    <store>/<run>/record.json            versions of everything that matters, the data's sizes, the
                                         label noise and how many labels it changed
    <store>/<run>/metrics.jsonl          one JSON object a level
    <store>/<run>/levels/00/             weights, masks and epochs, the same files as in the store

Whoever reads a run finds out what is not as it was written, and runs no code but that of installed
plugins.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sdd_core.errors import SddError
from sdd_core.experiment.applied_noise import applied_noise
from sdd_core.experiment.experiment import Experiment, plugins_of
from sdd_core.experiment.import_path import Imported
from sdd_core.experiment.keys import FORMAT, run_name
from sdd_core.files.atomic import append_line, disk_errors, link_or_copy, locked, write_atomic
from sdd_core.files.entries import set_aside
from sdd_core.files.reading import (
    LARGEST_SETTINGS,
    Damaged,
    exists,
    read_bytes,
)
from sdd_core.installation import DISTRIBUTION
from sdd_core.level.result import LevelResult
from sdd_core.output.notices import warn
from sdd_core.plugin.discovery import Plugins
from sdd_core.plugin.kinds import Plugin, label
from sdd_core.plugin.run import Run
from sdd_core.runs.record import (
    EXPERIMENT,
    RECORD,
    Record,
    Source,
    digest_of,
    read_experiment,
    read_record,
    wanted_levels,
    write_record,
)
from sdd_core.runs.result import Result
from sdd_core.runs.rows import METRICS, Row, line_of, read_epochs, read_rows, text_of, whole_rows

VERSIONS_OF = (
    DISTRIBUTION, "torch", "torchvision", "numpy", "numba", "pydantic", "pluggy", "safetensors",
)


@dataclass(frozen=True)
class RunFolder(Run):
    """A run with what reads and writes its folder."""

    experiment: Experiment

    @classmethod
    def of(cls, experiment: Experiment, store: Path) -> RunFolder:
        """The run of an experiment in a store. Raises SddError: a folder of another version."""
        name = run_name(experiment)
        run = cls(name, store / name, experiment)
        run.known_record()
        return run

    def begin(self, plugins: Plugins, device: str, sizes: Mapping[str, int]) -> None:
        """Write down the experiment and what it runs on, and mend what was damaged. Raises
        SddError.

        sizes: what `Sizes` holds: of the data, and how many labels the label noise changed.
        """
        measured = self.experiment.metrics
        origins: dict[str, Any] = {
            field: plugins.origin(type(plugin))
            for field, plugin in plugins_of(self.experiment).items()
        }
        origins["metrics"] = {
            label(metric): plugins.origin(type(metric))
            for metric in (plugins.default_metrics() if measured is None else measured)
        }
        with self._locked():
            before = self.known_record(aloud=True)
            if before is not None:
                self._warn_of_versions(before.model_dump()["plugins"], origins)
            # First, for rows that have no checksum are those of a record that has none.
            self._mend_rows(before)
            self._write(before, {
                "format": FORMAT,
                "device": device,
                "python": platform.python_version(),
                "platform": platform.platform(),
                "versions": {name: version(name) for name in VERSIONS_OF},
                "plugins": origins,
                "modules": _modules(self.experiment),
                "data": dict(sizes),
                "noise": self.experiment.noise.model_dump(mode="json"),
            })

    def _write(self, before: Record | None, facts: Mapping[str, Any]) -> None:
        """Write the record and the experiment."""
        file = self.folder / EXPERIMENT
        there = read_bytes(file, LARGEST_SETTINGS) if exists(file) else None
        # A run that once had more levels keeps them.
        levels = self.experiment.levels
        with suppress(SddError):  # damaged
            levels = max(levels, wanted_levels(self.folder, before, there or b""))
        text = self.experiment.model_copy(update={"levels": levels}).to_toml()
        digests = [digest_of(text)]
        if there is not None and digest_of(there) not in digests:
            if before is None or digest_of(there) in (before.experiment or [digest_of(there)]):
                # Until it is changed the record fits both, so that a run that is killed here is
                # not taken for one that somebody has edited.
                digests.append(digest_of(there))
            else:
                self._set_aside(file, "it is not what the run was carried out with")
        record = Record(**facts, name=self.name, levels=levels, experiment=digests)
        write_record(self.folder, record)
        if there != text.encode():
            # After the record, for it is what makes a folder a run.
            write_atomic(file, text, locked=True)
        if len(digests) > 1:
            write_record(self.folder, record.model_copy(update={"experiment": digests[:1]}))

    def _mend_rows(self, record: Record | None) -> None:
        """Leave rows that are whole, one for each level; the others are measured again."""
        rows = read_rows(self.folder, self.name, record is not None and record.with_checksums)
        for problem in rows.problems:
            warn(problem)
        text = text_of(rows.by_level, self.name)
        if rows.content not in {None, text.encode()}:
            if rows.problems:
                self._set_aside(self.folder / METRICS, "")
            write_atomic(self.folder / METRICS, text, locked=True)

    def known_record(self, aloud: bool = False) -> Record | None:
        """The record; None where there is none, or, which is said `aloud`, where it is damaged and
        set aside. Raises SddError when it is of another version or cannot be read."""
        if not exists(self.folder / RECORD):
            return None
        try:
            record = read_record(self.folder)
            if record.name in {"", self.name}:
                return record
            reason = f"it is that of {record.name}"
        except Damaged as error:
            reason = str(error)
        if aloud:
            self._set_aside(self.folder / RECORD, reason)
        return None

    def _set_aside(self, file: Path, reason: str) -> None:
        where = set_aside(file, self.folder.parent, stays=True)
        why = f" is damaged ({reason});" if reason else ":"
        warn(f"{file}{why} what it held was kept in {where}")

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """While this run's files are written, for another process may carry out the same run."""
        with disk_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        with locked(self.folder / ".lock", f"writing {self.folder}"):
            yield

    def _warn_of_versions(self, begun: Mapping[str, Any], origins: Mapping[str, Any]) -> None:
        """Say on standard error which plugins have another version than when the run began."""
        before, now = _versions(begun), _versions(origins)
        changed = sorted({f"{before[part]} (now {now[part]})" for part in before.keys() & now.keys()
                          if before[part] != now[part]})
        if changed:
            warn(f"run {self.name} was begun with {', '.join(changed)}; levels that it has are "
                 "kept, the others are made by what is installed now")

    @property
    def noise(self) -> str:
        """The label noise that was applied, in words; see `Result.noise`."""
        changed = examples = None
        with suppress(SddError):  # missing or damaged
            sizes = read_record(self.folder).data
            changed, examples = sizes.changed_labels, sizes.train_examples
        return applied_noise(self.experiment.noise, changed, examples)

    def known(self) -> dict[int, Row]:
        """The rows of `metrics.jsonl`, by level, after `begin`."""
        return read_rows(self.folder, self.name, True).by_level

    def keep(self, row: Row) -> None:
        """Add a level's row to the folder. Raises SddError."""
        with self._locked():
            append_line(self.folder / METRICS, line_of(row, self.name))

    def settle(self) -> None:
        """Leave one row for each level, in their order, where levels were measured again. Raises
        SddError."""
        with self._locked():
            self._mend_rows(self.known_record())

    def link(self, level: int, files: Mapping[str, Path]) -> None:
        """Make the store's files of a level the folder's. Raises SddError."""
        for name, file in files.items():
            link_or_copy(file, self.folder / "levels" / f"{level:02d}" / name)

    def result(self, *, epochs: bool = True) -> Result:
        """What has been measured so far, up to the experiment's number of levels.

        epochs: what was measured after each epoch is wanted too. Raises SddError: something is
        damaged or cannot be read.
        """
        record = read_record(self.folder)
        read_experiment(self.folder, record)
        sealed = record.with_checksums
        rows = whole_rows(self.folder, record.name or self.name, sealed)
        levels = tuple(
            level_result(row, read_epochs(self.folder, row, sealed) if epochs else ())
            for row in rows[: self.experiment.levels + 1]
        )
        sizes = record.data
        return Result(self.name, self.folder, self.experiment, levels, sizes.test_examples,
                      sizes.classes, sizes.train_examples, sizes.changed_labels)


def _modules(experiment: Experiment) -> dict[str, Source]:
    """The user's own modules that the experiment's model and data come from."""
    return {name: Source(file=file, sha256=sha256) for plugin in imported_plugins(experiment)
            for name, (file, sha256) in plugin.sources().items()}


def imported_plugins(experiment: Experiment) -> list[Imported]:
    plugins: tuple[Plugin, ...] = (experiment.data, experiment.model)
    return [plugin for plugin in plugins if isinstance(plugin, Imported)]


def _versions(origins: Mapping[str, Any]) -> dict[str, str]:
    """Distribution and version of each plugin in a record, metrics one by one."""
    parts = {**origins, **origins.get("metrics", {})}
    now = {"sdd": DISTRIBUTION}  # what the distribution was called in earlier records
    return {part: f"{now.get(origin['distribution'], origin['distribution'])} {origin['version']}"
            for part, origin in parts.items() if part != "metrics"}


def level_result(row: Row, epochs: tuple[Mapping[str, Any], ...] = ()) -> LevelResult:
    """A row of `metrics.jsonl` as a value."""
    return LevelResult(
        row.level, row.key, row.sparsity, row.density, row.diverged, row.metrics, epochs
    )

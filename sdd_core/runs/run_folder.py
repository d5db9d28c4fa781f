"""Read and write a run's folder: the experiment, its record, its levels and their metrics.

    <store>/<run>/experiment.toml        the resolved experiment; `sdd run` takes it
    <store>/<run>/record.json            versions of everything that matters, the data's sizes, the
                                         label noise and how many labels it changed
    <store>/<run>/metrics.jsonl          one JSON object per level
    <store>/<run>/levels/00/             weights, masks and epochs, the same files as in the store

Reading a run detects damaged files, and executes no code except that of installed plugins.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sdd_core.errors import SddError
from sdd_core.experiment.applied_noise import applied_noise
from sdd_core.experiment.experiment import Experiment, plugins_of
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
from sdd_core.plugin.kinds import Model, label
from sdd_core.plugin.run import Run
from sdd_core.runs.imported import imported_modules
from sdd_core.runs.record import (
    EXPERIMENT,
    RECORD,
    Inputs,
    Record,
    Sizes,
    digest_of,
    read_experiment,
    read_record,
    wanted_levels,
    write_record,
)
from sdd_core.runs.result import Result
from sdd_core.runs.rows import METRICS, Row, line_of, read_epochs, read_rows, text_of, whole_rows
from sdd_core.runs.stored_level import StoredLevel, StoredRun

VERSIONS_OF = (
    DISTRIBUTION, "torch", "torchvision", "numpy", "numba", "pydantic", "pluggy", "safetensors",
)


@dataclass(frozen=True)
class RunFolder(Run):
    """A run that can read and write its folder."""

    experiment: Experiment

    @classmethod
    def of(cls, experiment: Experiment, store: Path) -> RunFolder:
        """Return the run of an experiment in a store. Raises SddError for a folder of another
        version."""
        name = run_name(experiment)
        run = cls(name, store / name, experiment)
        run.known_record()
        return run

    def begin(self, plugins: Plugins, device: str, sizes: Sizes, inputs: Inputs) -> None:
        """Write the experiment and the record, and repair damaged files. Raises SddError."""
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
            before = self.known_record(set_aside_damaged=True)
            if before is not None:
                self._warn_of_versions(before.model_dump()["plugins"], origins)
            # Before the record is rewritten: only an old record accepts rows without checksums.
            self._mend_rows(before)
            self._write(before, {
                "format": FORMAT,
                "device": device,
                "python": platform.python_version(),
                "platform": platform.platform(),
                "versions": {name: version(name) for name in VERSIONS_OF},
                "plugins": origins,
                "modules": imported_modules(self.experiment),
                "data": sizes,
                "inputs": inputs,
                "noise": self.experiment.noise.model_dump(mode="json"),
            })

    def _write(self, before: Record | None, facts: Mapping[str, Any]) -> None:
        """Write the record and the experiment."""
        file = self.folder / EXPERIMENT
        current = read_bytes(file, LARGEST_SETTINGS) if exists(file) else None
        # A run that once had more levels keeps them.
        levels = self.experiment.levels
        with suppress(SddError):  # damaged
            levels = max(levels, wanted_levels(self.folder, before, current or b""))
        text = self.experiment.model_copy(update={"levels": levels}).to_toml()
        digests = [digest_of(text)]
        if current is not None and digest_of(current) not in digests:
            found = digest_of(current)
            if before is None or found in (before.experiment or [found]):
                # Until the file is replaced, the record accepts both versions, so that a run that
                # is killed here does not look edited.
                digests.append(found)
            else:
                self._set_aside(file, "it has changed since the run was made")
        record = Record(**facts, name=self.name, levels=levels, experiment=digests)
        write_record(self.folder, record)
        if current != text.encode():
            # After the record, because this file makes a folder a run.
            write_atomic(file, text, locked=True)
        if len(digests) > 1:
            write_record(self.folder, record.model_copy(update={"experiment": digests[:1]}))

    def _mend_rows(self, record: Record | None, measured: Sequence[Row] = ()) -> None:
        """Keep one undamaged row for each level: the one in `measured`, or else the last in the
        file. Levels without one are measured again."""
        rows = read_rows(self.folder, self.name, record is not None and record.with_checksums)
        for problem in rows.problems:
            warn(problem)
        text = text_of(rows.by_level | {row.level: row for row in measured}, self.name)
        if rows.content not in {None, text.encode()}:
            if rows.problems:
                self._set_aside(self.folder / METRICS, "")
            write_atomic(self.folder / METRICS, text, locked=True)

    def known_record(self, set_aside_damaged: bool = False) -> Record | None:
        """Return the record; None if it is missing or damaged.

        set_aside_damaged: set a damaged record aside, with a notice. Raises SddError when it has
        another version or cannot be read.
        """
        if not exists(self.folder / RECORD):
            return None
        try:
            record = read_record(self.folder)
            if record.name in {"", self.name}:
                return record
            reason = f"it belongs to {record.name}"
        except Damaged as error:
            reason = str(error)
        if set_aside_damaged:
            self._set_aside(self.folder / RECORD, reason)
        return None

    def _set_aside(self, file: Path, reason: str) -> None:
        where = set_aside(file, self.folder.parent, stays=True)
        why = f" is damaged ({reason});" if reason else ":"
        warn(f"{file}{why} its content was kept in {where}")

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the lock of this folder, because another process may execute the same run."""
        with disk_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        with locked(self.folder / ".lock", f"writing {self.folder}"):
            yield

    def _warn_of_versions(self, begun: Mapping[str, Any], origins: Mapping[str, Any]) -> None:
        """Warn of plugins whose version has changed since the run began."""
        before, now = _versions(begun), _versions(origins)
        changed = sorted({f"{before[part]} (now {now[part]})" for part in before.keys() & now.keys()
                          if before[part] != now[part]})
        if changed:
            warn(f"run {self.name} began with {', '.join(changed)}; its existing levels are kept, "
                 "the others are made with the installed version")

    @property
    def noise(self) -> str:
        """The label noise that was applied, in words; see `Result.noise`."""
        changed = examples = None
        with suppress(SddError):  # missing or damaged
            sizes = read_record(self.folder).data
            changed, examples = sizes.changed_labels, sizes.train_examples
        return applied_noise(self.experiment.noise, changed, examples)

    def known(self) -> dict[int, Row]:
        """Return the rows of `metrics.jsonl` by level. Call `begin` before."""
        return read_rows(self.folder, self.name, True).by_level

    def keep(self, row: Row) -> None:
        """Append a level's row to `metrics.jsonl`. Raises SddError."""
        with self._locked():
            append_line(self.folder / METRICS, line_of(row, self.name))

    def settle(self, measured: Sequence[Row]) -> None:
        """Keep one row for each level, in order, after these were measured. Raises SddError."""
        with self._locked():
            self._mend_rows(self.known_record(), measured)

    def link(self, level: int, files: Mapping[str, Path]) -> None:
        """Link the store's files of a level into the folder. Raises SddError."""
        for name, file in files.items():
            link_or_copy(file, self.folder / "levels" / f"{level:02d}" / name)

    def result(
        self,
        rows: Sequence[Row] | None = None,
        *,
        epochs: bool = True,
        model: Model | None = None,
        trust: bool = False,
    ) -> Result:
        """Return the result so far, up to the experiment's number of levels.

        rows: the rows of all levels in order (default: those in the folder). epochs: include the
        measurements after each epoch. model, trust: for the levels' networks, see `StoredRun`.
        Raises SddError when something is damaged or cannot be read.
        """
        record = read_record(self.folder)
        read_experiment(self.folder, record)
        sealed = record.with_checksums
        if rows is None:
            rows = whole_rows(self.folder, record.name or self.name, sealed)
        stored = StoredRun(self.folder.absolute(), self.experiment, record, model, trust)
        levels = tuple(
            level_result(row, read_epochs(self.folder, row, sealed) if epochs else (),
                         StoredLevel(stored, row.level, row.key))
            for row in rows[: self.experiment.levels + 1]
        )
        sizes = record.data
        return Result(self.name, self.folder, self.experiment, levels, sizes.test_examples,
                      sizes.classes, sizes.train_examples, sizes.changed_labels,
                      guessing=sizes.guessing)


def _versions(origins: Mapping[str, Any]) -> dict[str, str]:
    """Return the distribution and version of each plugin in a record, including each metric."""
    parts = {**origins, **origins.get("metrics", {})}
    now = {"sdd": DISTRIBUTION}  # the distribution's name in earlier records
    return {part: f"{now.get(origin['distribution'], origin['distribution'])} {origin['version']}"
            for part, origin in parts.items() if part != "metrics"}


def level_result(
    row: Row, epochs: tuple[Mapping[str, Any], ...] = (), stored: StoredLevel | None = None
) -> LevelResult:
    """Return a row of `metrics.jsonl` as a LevelResult."""
    return LevelResult(
        row.level, row.key, row.sparsity, row.density, row.diverged, row.metrics, epochs, stored
    )

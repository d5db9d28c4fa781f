"""List and read the runs in a store. A damaged run does not hide the others."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sdd_core.errors import SddError
from sdd_core.files.reading import exists, is_folder, names_in
from sdd_core.output.notices import warn
from sdd_core.phases.phases import Phases, find_phases
from sdd_core.plugin.discovery import Plugins
from sdd_core.runs.level_record import LevelRecord, read_level_record
from sdd_core.runs.open_run import open_run
from sdd_core.runs.record import EXPERIMENT, read_experiment, read_record, wanted_levels
from sdd_core.runs.result import Result
from sdd_core.runs.rows import METRICS, whole_rows
from sdd_core.runs.run_folder import level_result


def run_folders(store: Path) -> list[Path]:
    """Return the folders of the runs in a store, sorted by name, including unreadable ones; none if
    there is no store. Raises SddError when the store cannot be read."""
    return [store / name for name in names_in(store)
            if not name.startswith(".") and is_run(store / name)]


def is_run(folder: Path) -> bool:
    """Return whether a folder contains a run, or something that cannot be read."""
    try:
        # A folder with only a record is a run that was stopped before it began.
        return is_folder(folder) and any(
            exists(folder / name) for name in (EXPERIMENT, METRICS, "levels")
        )
    except SddError:
        return folder.is_dir()


@dataclass(frozen=True)
class Overview:
    """The summary of a run in `sdd runs`: its finished and planned levels, and their phases.

    trained: the record of each level; None if it is damaged.
    """

    levels: int
    of: int
    phases: Phases
    trained: tuple[LevelRecord | None, ...]


def overview(folder: Path) -> Overview:
    """Return the summary of the run in a folder from its record and rows, without plugins.

    Raises SddError when something is damaged or cannot be read.
    """
    record = read_record(folder)
    of = wanted_levels(folder, record, read_experiment(folder, record)) + 1
    rows = whole_rows(folder, record.name or folder.name, record.with_checksums)
    levels = [level_result(row) for row in rows[:of]]
    accuracy = [level.number("test_accuracy") for level in levels]
    phases = find_phases([level.sparsity for level in levels], accuracy, record.data.test_examples,
                         record.data.classes, record.data.guessing)
    trained = tuple(_level_record(folder / "levels" / f"{level.level:02d}") for level in levels)
    return Overview(len(levels), of, phases, trained)


def _level_record(folder: Path) -> LevelRecord | None:
    """Return the record of a level; None if it is missing or damaged, which does not hide the rest
    of the run."""
    with suppress(OSError, ValueError, SddError):
        return read_level_record(folder)
    return None


def results_of(folders: Iterable[Path], plugins: Plugins) -> tuple[list[Result], list[SddError]]:
    """Return the results of runs without their epochs, and the errors of unreadable runs, which are
    also printed as warnings."""
    results, left_out = [], []
    for folder in folders:
        try:
            results.append(open_run(folder, plugins).result(epochs=False))
        except SddError as error:
            warn(f"run {folder.name} is left out: {error}")
            left_out.append(error)
    return results, left_out

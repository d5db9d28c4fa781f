"""Send a run's settings, curves and figure to trackers."""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sdd_core.errors import FAILURES, format_error
from sdd_core.experiment.outside import make_outside
from sdd_core.files.atomic import locked
from sdd_core.output.notices import lenient, warn
from sdd_core.output.text import one_line
from sdd_core.plugin.discovery import Plugins
from sdd_core.plugin.kinds import Tracker, label
from sdd_core.plugin.markers import hookimpl
from sdd_core.report import write_report
from sdd_core.runs.table import flat

if TYPE_CHECKING:
    from sdd_core.level.level import Epoch
    from sdd_core.level.result import LevelResult
    from sdd_core.plugin.run import Run
    from sdd_core.runs.result import Result


def make_trackers(
    wanted: Sequence[Tracker | Mapping[str, Any] | str] | Tracker | str, plugins: Plugins
) -> list[Tracker]:
    """Return trackers from instances, names (`mlflow`, `mlflow:sqlite:///runs.db`) or tables of a
    name and options.

    Raises SddError for an unknown name, impossible options, or a missing package.
    """
    some = [wanted] if isinstance(wanted, str | Tracker) else wanted
    return [make_outside("tracker", one, plugins) for one in some]


@contextlib.contextmanager
def tracking(trackers: Sequence[Tracker]) -> Iterator[list[object]]:
    """Yield observers that send a run to trackers, and end the trackers of an interrupted run."""
    observers = [_Tracking(tracker) for tracker in trackers]
    try:
        yield list(observers)
    finally:
        for observer in observers:
            observer.over()


class _Tracking:
    """An observer that sends a run to one tracker, until the tracker fails once."""

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker
        self._listens = False

    @hookimpl
    def sdd_run_start(self, run: Run) -> None:
        self._listens = True
        self._tell(self._start, run)

    def _start(self, run: Run) -> None:
        # One run of a store at a time: two at once would both create shared things, such as the
        # tables of a database.
        with locked(run.folder.parent / ".trackers.lock", "starting its trackers"):
            self._tracker.start(run, _plain(run.experiment.settings()))

    @hookimpl
    def sdd_epoch_end(self, level: int, epoch: Epoch) -> None:
        values = {
            "learning_rate": epoch.learning_rate,
            "test_loss": epoch.test_loss,
            "test_accuracy": epoch.test_accuracy,
            "train_loss": epoch.train_loss,
            "train_accuracy": epoch.train_accuracy,
        }
        self._log("epoch", epoch.number, f"level {level:02d}", values)

    @hookimpl
    def sdd_level_end(self, level: LevelResult) -> None:
        values = {"sparsity": level.sparsity, "density": level.density, **flat(level.metrics)}
        self._log("level", level.level, "level", values)

    @hookimpl
    def sdd_run_end(self, result: Result) -> None:
        if self._listens:
            files = write_report(result, result.folder / "report")
            figure = next(file for file in files if file.suffix == ".png")
            self._tell(self._tracker.end, figure)
            self._listens = False

    def over(self) -> None:
        """End the tracker, if the run ended early."""
        if self._listens:
            self._tell(self._tracker.end, None)
            self._listens = False

    def _log(self, axis: str, step: int, group: str, values: Mapping[str, Any]) -> None:
        numbers = {
            f"{group}/{one_line(name)}": float(value)
            for name, value in values.items()
            if isinstance(value, int | float) and math.isfinite(value)
        }
        self._tell(self._tracker.log, axis, step, numbers)

    def _tell(self, method: Callable[..., None], *arguments: Any) -> None:
        if not self._listens:
            return
        try:
            # Standard output is for results only.
            with contextlib.redirect_stdout(lenient(sys.stderr)):
                method(*arguments)
        except FAILURES as error:
            self._listens = False
            warn(f"tracker {label(self._tracker)!r} failed ({format_error(error)}); it is not used "
                 "for the rest of this run")


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with control characters in names and texts escaped."""
    return {one_line(name): one_line(value) if isinstance(value, str) else value
            for name, value in settings.items()}

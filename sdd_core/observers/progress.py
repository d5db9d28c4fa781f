"""Show the progress of a run: as lines, as a bar, or in a notebook."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from sdd_core.observers.pace import Pace, per_second, time_left
from sdd_core.output.console import PlainConsole, level_bar, notice_console
from sdd_core.output.notices import say
from sdd_core.output.text import html_text
from sdd_core.plugin.markers import hookimpl
from sdd_core.runs.record import read_record
from sdd_core.runs.result import Result
from sdd_core.runs.table import dead, html_table

if TYPE_CHECKING:
    from sdd_core.level.result import Epoch, LevelResult
    from sdd_core.plugin.run import Run


REDRAWN_SECONDS = 0.2
"""Least time between two redraws of a notebook's table."""


class _Lines:
    """One plain line per level, for pipes and log files."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self._trained_since: float | None = None

    @hookimpl
    def sdd_run_start(self, run: Run) -> None:
        self.levels = run.experiment.levels
        self._pace = Pace(self.levels)
        say(_begun(run), self._stream)

    @hookimpl
    def sdd_level_start(self, level: int, epochs: int) -> None:
        self._trained_since = time.monotonic()
        self._pace.level_starts(level, epochs)

    @hookimpl
    def sdd_epoch_start(self) -> None:
        self._pace.epoch_starts()

    @hookimpl
    def sdd_epoch_end(self) -> None:
        self._pace.epoch_ends()

    @hookimpl
    def sdd_wait(self, reason: str) -> None:
        say(f"{reason} ...", self._stream)

    @hookimpl
    def sdd_level_end(self, level: LevelResult) -> None:
        since, self._trained_since = self._trained_since, None
        speed = per_second(self._pace.rate)
        self._pace.level_ends(level.level)
        how = ["reused"] if since is None else [
            f"{time.monotonic() - since:.1f} s", speed, time_left(self._pace.left)]
        say(f"{line(level, self.levels)} ({', '.join(filter(None, how))})", self._stream)


class _Live:
    """A bar that grows with every level, with the current epoch and the time left beside it."""

    def __init__(self, console: PlainConsole) -> None:
        self._console = console
        self.progress = level_bar("level", console)

    @hookimpl
    def sdd_run_start(self, run: Run) -> None:
        self.levels = run.experiment.levels
        self._pace = Pace(self.levels)
        self._console.say(_begun(run), style="bold")
        self._task = self.progress.add_task("", total=self.levels)

    @hookimpl
    def sdd_level_start(self, level: int, epochs: int) -> None:
        self._pace.level_starts(level, epochs)
        self.progress.update(self._task, completed=level)

    @hookimpl
    def sdd_wait(self, reason: str) -> None:
        self.progress.update(self._task, description=f"{reason} ...")

    @hookimpl
    def sdd_epoch_start(self) -> None:
        self._pace.epoch_starts()

    @hookimpl
    def sdd_epoch_end(self, level: int, epoch: Epoch) -> None:
        pace = self._pace
        pace.epoch_ends()
        # Padded, so that the bar before it keeps its length.
        number = f"{pace.done:>{len(str(pace.epochs))}}/{pace.epochs}"
        text = (f"epoch {number} test {epoch.test_accuracy:.3f} {per_second(pace.rate):>14} "
                f"{time_left(pace.left):>10}")
        self.progress.update(self._task, description=text)

    @hookimpl
    def sdd_level_end(self, level: LevelResult) -> None:
        self._pace.level_ends(level.level)
        self.progress.update(self._task, completed=level.level)
        self._console.say(line(level, self.levels))


class _Notebook:
    """A table of levels below the cell, with the current epoch above it."""

    @hookimpl
    def sdd_run_start(self, run: Run) -> None:
        from IPython.display import HTML, display  # noqa: PLC0415 (there is one in a notebook)

        self._html, self._table, self._shown = HTML, "", 0.0
        # Kept here, because reading all levels after each one would take quadratic time.
        self._levels: list[LevelResult] = []
        self._sizes = read_record(run.folder).data
        self._pace = Pace(run.experiment.levels)
        self._handle = display(HTML(""), display_id=True)
        self._show(_begun(run))

    @hookimpl
    def sdd_level_start(self, level: int, epochs: int) -> None:
        self._pace.level_starts(level, epochs)

    @hookimpl
    def sdd_wait(self, reason: str) -> None:
        self._show(f"{reason} ...")

    @hookimpl
    def sdd_epoch_start(self) -> None:
        self._pace.epoch_starts()

    @hookimpl
    def sdd_epoch_end(self, run: Run, level: int, epoch: Epoch) -> None:
        self._pace.epoch_ends()
        if self._due():
            pace = ", ".join(["", *filter(None, [str(self._pace)])])
            self._show(f"level {level}/{run.experiment.levels}, epoch {epoch.number}: "
                       f"test {epoch.test_accuracy:.3f}{pace}")

    @hookimpl
    def sdd_level_end(self, run: Run, level: LevelResult) -> None:
        self._pace.level_ends(level.level)
        self._levels.append(level)
        if self._due():
            self._draw(run)
            self._show(line(level, run.experiment.levels))

    @hookimpl
    def sdd_run_end(self, run: Run) -> None:
        self._draw(run)
        self._show(f"run {run.name}")  # the table below names the noise

    def _due(self) -> bool:
        return time.monotonic() - self._shown > REDRAWN_SECONDS

    def _draw(self, run: Run) -> None:
        sizes = self._sizes
        self._table = html_table(Result(
            run.name, run.folder, run.experiment, tuple(self._levels), sizes.test_examples,
            sizes.classes, sizes.train_examples, sizes.changed_labels, guessing=sizes.guessing,
        ))

    def _show(self, text: str) -> None:
        self._shown = time.monotonic()
        self._handle.update(self._html(f"<p>{html_text(text)}</p>{self._table}"))


def in_notebook() -> bool:
    """Return whether this process is the kernel of a notebook."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return hasattr(shell, "kernel")


@contextmanager
def progress_for(stream: TextIO | None, quiet: bool) -> Iterator[list[object]]:
    """Yield observers that show a run's progress on `stream`: a bar on a terminal, plain lines in a
    pipe, none if `quiet`; in a notebook, a table below the cell."""
    console = notice_console(stream)
    if quiet:
        yield []
    elif in_notebook():
        yield [_Notebook()]
    elif not console.is_terminal:
        yield [_Lines(stream)]
    else:
        live = _Live(console)
        with live.progress:
            yield [live]


def _begun(run: Run) -> str:
    return f"run {run.name} ({', '.join([f'label noise: {run.noise}', *_untrained(run)])})"


def _untrained(run: Run) -> Iterator[str]:
    """Yield what the experiment does not train."""
    experiment = run.experiment
    epochs = experiment.retrain.epochs
    if not experiment.train.epochs:
        yield "the dense network is not trained"
    if experiment.levels and not (experiment.train.epochs if epochs is None else epochs):
        yield "pruned levels are not retrained"


def line(level: LevelResult, levels: int) -> str:
    """Return a level in one line."""
    parts = [f"level {level.level:>{len(str(levels))}}/{levels}",
             f"sparsity {100 * level.sparsity:6.2f} %"]
    if level.diverged:
        parts.append("training diverged")
    for title, metric in (("test", "test_accuracy"), ("train", "train_accuracy"),
                          ("distance", "learning_distance")):
        value = level.metrics.get(metric)
        if isinstance(value, float):
            parts.append(f"{title} {value:.3f}")
    if emptied := dead(level):
        parts.append(f"dead: {emptied}")
    return "  ".join(parts)

"""Show the progress of a sweep. Levels are counted in the store, where those of all workers on all
machines arrive."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from sdd_core.experiment.applied_noise import noise_name
from sdd_core.output.console import PlainConsole, level_bar, notice_console
from sdd_core.output.notices import say
from sdd_core.sweeps.estimate import Estimate
from sdd_core.sweeps.plan import Plan, keys_in
from sdd_core.sweeps.scheduler import Progress

# Least seconds between two lines if no run has ended.
LINE_EVERY = 30.0


class Silent:
    """A progress that shows nothing."""

    def look(self) -> None: ...

    def ended(self, run: int, reason: str | None) -> None: ...


class Count:
    """The numbers of finished levels and runs, and the time left."""

    def __init__(self, plan: Plan, store: Path) -> None:
        self.plan, self._store = plan, store
        there = set(plan.there(store))
        self._missing = set(plan.keys) - there
        self._failed: set[int] = set()
        self.runs, self.done = 0, len(there)
        # Levels that existed before the sweep do not count for the estimate.
        self._estimate = Estimate(plan)

    @property
    def levels(self) -> int:
        """The number of levels that are finished or can still be finished."""
        return self.done + len(self._missing)

    @property
    def noises(self) -> str:
        """The label noises of the runs, without repetition."""
        names = (noise_name(experiment.noise) for experiment in self.plan.experiments)
        return "; ".join(dict.fromkeys(names))

    def look(self) -> None:
        """Count the new levels in the store."""
        come = self._missing & keys_in(self._store)
        self._missing -= come
        self.done += len(come)
        if come:
            self._estimate.came(come, self._missing, time.monotonic())

    def ended(self, run: int, failed: bool) -> None:
        """Count a run that ended. If it failed, levels that only it needed are no longer expected.
        """
        self.look()
        self.runs += 1
        if failed:
            self._failed.add(run)
            for position, task in enumerate(self.plan.tasks):
                if self._failed.issuperset(self.plan.runs_after(position)):
                    self._missing -= set(task.keys)

    def __str__(self) -> str:
        text = f"runs {self.runs}/{len(self.plan.names)}, levels {self.done}/{self.levels}"
        left = self._estimate.left(self._missing) if self._missing else None
        if left is not None:
            text += f", about {duration(left)} left"
        return text


class Lines:
    """A progress as plain lines, for pipes and log files."""

    def __init__(self, count: Count, stream: TextIO | None) -> None:
        self._count, self._stream = count, stream
        self._shown = 0
        runs = len(count.plan.names)
        self._say(f"sweep of {runs} run{'s' * (runs != 1)}, {count.levels} levels, "
                  f"{count.done} of them already in the store (label noise: {count.noises})")

    def look(self) -> None:
        self._count.look()
        if self._count.done > self._shown and time.monotonic() - self._said > LINE_EVERY:
            self._say(str(self._count))

    def ended(self, run: int, reason: str | None) -> None:
        self._count.ended(run, reason is not None)
        how = f"failed: {reason}" if reason else "done"
        self._say(f"run {self._count.plan.names[run]} {how} ({self._count})")

    def _say(self, text: str) -> None:
        self._shown, self._said = self._count.done, time.monotonic()
        say(text, self._stream)


class Live:
    """A progress as a bar that grows with every level."""

    def __init__(self, count: Count, console: PlainConsole) -> None:
        self._count = count
        self._console = console
        self.bar = level_bar("sweep", console)
        self._task = self.bar.add_task(str(count), total=count.levels, completed=count.done)

    def look(self) -> None:
        self._count.look()
        self.bar.update(self._task, completed=self._count.done, total=self._count.levels,
                        description=str(self._count))

    def ended(self, run: int, reason: str | None) -> None:
        self._count.ended(run, reason is not None)
        how = f"failed: {reason}" if reason else "done"
        self._console.say(f"run {self._count.plan.names[run]} {how}", "red" if reason else "")
        self.look()


@contextmanager
def progress_for(
    plan: Plan, store: Path, stream: TextIO | None, quiet: bool
) -> Iterator[Progress]:
    """Yield a sweep's progress on `stream`: a bar on a terminal, plain lines in a pipe, nothing if
    `quiet`."""
    console = notice_console(stream)
    if quiet:
        yield Silent()
    elif not console.is_terminal:
        yield Lines(Count(plan, store), stream)
    else:
        live = Live(Count(plan, store), console)
        with live.bar:
            yield live


def duration(seconds: float) -> str:
    """Return a time span as text: `40 s`, `3 min`, `2.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"

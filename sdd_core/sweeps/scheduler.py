"""Submit the tasks of a plan to an executor's workers, each after the tasks that it needs."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from typing import Protocol

from sdd_core.errors import SddError, format_error
from sdd_core.files.entries import level_is_whole
from sdd_core.level.result import LevelResult
from sdd_core.plugin.kinds import Schedule
from sdd_core.sweeps.plan import Plan, Task
from sdd_core.sweeps.work import Outcome, RunOptions, execute

# Seconds between two looks at the store, which shows the progress of workers on any machine.
LOOK = 0.5


class Progress(Protocol):
    """A receiver of a sweep's progress."""

    def look(self) -> None:
        """Look for new levels in the store."""

    def ended(self, run: int, reason: str | None) -> None:
        """Note the end of a run. reason: why it failed, or None."""


def execute_all(
    plan: Plan, pool: Executor, place: RunOptions, progress: Progress
) -> tuple[dict[int, str], dict[int, tuple[LevelResult, ...]]]:
    """Execute all tasks. Return by position of the run the reasons of failed ones, one line each,
    and what was measured on the levels of the others.

    If a task fails, only the runs that need its levels fail. On an interruption the workers are
    stopped; the levels that they saved stay in the store.
    """
    failed: dict[int, str] = {}
    measured: dict[int, tuple[LevelResult, ...]] = {}
    running: dict[Future[Outcome], int] = {}

    def begin(tasks: Iterable[int]) -> None:
        for position in tasks:
            task = plan.tasks[position]
            if _is_done(task, place):
                begin(plan.children[position])
                continue
            runs = [plan.experiments[run] for run in plan.runs_after(position)]
            schedules: list[tuple[Schedule, int]] = []
            for one in runs:
                if (one.retrain, one.levels) not in schedules:
                    schedules.append((one.retrain, one.levels))
            work = (plan.experiments[task.run], task.levels, schedules, place)
            running[pool.submit(execute, *work)] = position

    try:
        begin(plan.children[None])
        while running:
            done, _ = wait(running, timeout=LOOK, return_when=FIRST_COMPLETED)
            progress.look()
            for future in sorted(done, key=running.__getitem__):
                position = running.pop(future)
                task = plan.tasks[position]
                error = future.exception()
                outcome = format_error(error) if error else future.result()
                if isinstance(outcome, str):
                    for run in plan.runs_after(position):
                        failed[run] = outcome
                        progress.ended(run, outcome)
                    continue
                if outcome is not None:
                    measured[task.run] = outcome
                    progress.ended(task.run, None)
                begin(plan.children[position])
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()
    return failed, measured


def _is_done(task: Task, place: RunOptions) -> bool:
    """Return whether a task can be skipped. Whole runs never are: they do more than train."""
    if task.levels is None:
        return False
    try:
        return all(level_is_whole(place.store, key) for key in task.keys)
    except SddError:
        return False  # the runs that need it report what cannot be read

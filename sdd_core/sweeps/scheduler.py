"""Submit the tasks of a plan to an executor's workers, each after the tasks that it needs."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from typing import Protocol

from sdd_core.errors import SddError, format_error
from sdd_core.files.entries import level_is_whole
from sdd_core.plugin.kinds import Schedule
from sdd_core.sweeps.plan import Plan, Task
from sdd_core.sweeps.work import RunOptions, execute

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
) -> dict[int, str]:
    """Execute all tasks, and return the reasons of failed runs, one line each, by position.

    If a task fails, only the runs that need its levels fail. On an interruption the workers are
    stopped; the levels that they saved stay in the store.
    """
    failed: dict[int, str] = {}
    running: dict[Future[str | None], int] = {}

    def begin(tasks: Iterable[int]) -> None:
        for position in tasks:
            task = plan.tasks[position]
            if _is_done(task, place):
                begin(plan.children[position])
                continue
            runs = [plan.experiments[run] for run in plan.runs_after(position)]
            schedules: list[Schedule] = []
            for one in runs:
                if one.retrain not in schedules:
                    schedules.append(one.retrain)
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
                reason = format_error(error) if error else future.result()
                if reason is None:
                    begin(plan.children[position])
                ended = [task.run] if task.levels is None else []
                for run in plan.runs_after(position) if reason else ended:
                    if reason:
                        failed[run] = reason
                    progress.ended(run, reason)
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()
    return failed


def _is_done(task: Task, place: RunOptions) -> bool:
    """Return whether a task can be skipped. Whole runs never are: they do more than train."""
    if task.levels is None:
        return False
    try:
        return all(level_is_whole(place.store, key) for key in task.keys)
    except SddError:
        return False  # the runs that need it report what cannot be read

"""The order of tasks, and whom a failure takes with it; nothing is trained here."""

from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import pytest

from sdd_core.files.entries import level_folder
from sdd_core.plugin.discovery import load_plugins
from sdd_core.sweeps import expand, scheduler
from sdd_core.sweeps.plan import Plan
from sdd_core.sweeps.scheduler import execute_all
from sdd_core.sweeps.work import RunOptions

PLUGINS = load_plugins()

# Tasks: dense (0), imp (1), random (2) of seed 0, then the same of seed 1 (3, 4, 5).
PLAN = Plan.of(expand([{"seed": [0, 1], "pruner": ["imp", "random"], "levels": 1}], PLUGINS))


class Pool(Executor):
    """Does what is submitted at once, and notes it. Given answers stand for what would be done."""

    def __init__(self, answers: dict[tuple[int, str, int | None], Any]) -> None:
        self.asked: list[tuple[int, str, int | None]] = []
        self.ended: list[bool] = []
        self._answers = answers

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        experiment, levels, self.schedules, _ = args
        asked = (experiment.seed, experiment.pruner.name, levels)
        self.asked.append(asked)
        future: Future[Any] = Future()
        answer = self._answers.get(asked, None if levels is not None else ())
        if isinstance(answer, BaseException):
            future.set_exception(answer)
        else:
            future.set_result(answer)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self.ended.append(cancel_futures)


class Notes:
    def __init__(self) -> None:
        self.runs: list[tuple[int, str | None]] = []

    def look(self) -> None: ...

    def ended(self, run: int, reason: str | None) -> None:
        self.runs.append((run, reason))


def go(store: Path, answers: dict[Any, Any] | None = None) -> tuple[Pool, Notes, dict[int, str]]:
    pool, notes = Pool(answers or {}), Notes()
    failed, measured = execute_all(PLAN, pool, RunOptions(store), notes)
    assert pool.ended == [False]
    assert failed.keys() | measured.keys() == set(range(4))
    return pool, notes, failed


def test_parents_first_and_each_task_once(tmp_path: Path) -> None:
    pool, notes, failed = go(tmp_path)
    assert pool.asked == [
        (0, "imp", 0), (1, "imp", 0),
        (0, "imp", None), (0, "random", None), (1, "imp", None), (1, "random", None),
    ]  # fmt: skip
    assert failed == {}
    assert sorted(notes.runs) == [(run, None) for run in range(4)]


def test_whoever_makes_shared_levels_knows_the_schedules_of_the_runs(tmp_path: Path) -> None:
    retrain = ["rewind", {"name": "rewind", "to": 3}, "scratch"]
    plan = Plan.of(expand([{"retrain": retrain, "pruner": ["imp", "random"]}], PLUGINS))
    pool = Pool({(0, "imp", 0): "stop here"})
    execute_all(plan, pool, RunOptions(tmp_path), Notes())
    assert pool.schedules == [(one.retrain, one.levels) for one in plan.experiments[::2]]


def test_a_failing_run_fails_alone(tmp_path: Path) -> None:
    pool, notes, failed = go(tmp_path, {(0, "imp", None): "the reason"})
    assert failed == {0: "the reason"}
    assert len(pool.asked) == 6
    assert sorted(notes.runs) == [(0, "the reason"), (1, None), (2, None), (3, None)]


def test_levels_that_fail_take_the_runs_that_need_them(tmp_path: Path) -> None:
    pool, notes, failed = go(tmp_path, {(1, "imp", 0): "the reason"})
    assert failed == {2: "the reason", 3: "the reason"}
    assert [asked for asked in pool.asked if asked[0] == 1] == [(1, "imp", 0)]
    assert sorted(run for run, reason in notes.runs if reason is None) == [0, 1]


def test_a_worker_that_is_lost_is_a_reason_in_one_line(tmp_path: Path) -> None:
    _, _, failed = go(tmp_path, {(0, "random", None): OSError("no\nroute")})
    assert failed == {1: "OSError: no route"}


def test_an_interruption_ends_the_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(scheduler, "wait", interrupted)
    pool = Pool({})
    with pytest.raises(KeyboardInterrupt):
        execute_all(PLAN, pool, RunOptions(tmp_path), Notes())
    assert pool.ended == [True]


def test_levels_that_are_there_are_not_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = {PLAN.tasks[3].keys[0]}
    monkeypatch.setattr(scheduler, "level_is_whole", lambda store, key: key in there)
    pool, _, _ = go(tmp_path)
    # Runs are asked for nevertheless: they measure, and look at what is there themselves.
    assert pool.asked == [
        (0, "imp", 0), (1, "imp", None), (1, "random", None), (0, "imp", None), (0, "random", None),
    ]  # fmt: skip
    # A folder alone is no level.
    monkeypatch.undo()
    level_folder(tmp_path, PLAN.tasks[0].keys[0]).mkdir(parents=True)
    assert (0, "imp", 0) in go(tmp_path)[0].asked

"""What is said about a sweep while it is going on; levels are folders made by hand."""

import io
from pathlib import Path

import pytest

from sdd_core.files.entries import level_folder
from sdd_core.output.console import PlainConsole
from sdd_core.plugin.discovery import load_plugins
from sdd_core.sweeps import expand, progress
from sdd_core.sweeps.plan import Plan
from sdd_core.sweeps.progress import Count, Live, duration, progress_for

# Dense, imp, random of seed 0, then of seed 1; two levels in each run.
PLAN = Plan.of(expand([{"seed": [0, 1], "pruner": ["imp", "random"], "levels": 2}], load_plugins()))


class Clock:
    """Time as the tests want it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(progress.time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def make(store: Path, *tasks: int) -> None:
    """The levels of these tasks."""
    for task in tasks:
        for key in PLAN.tasks[task].keys:
            level_folder(store, key).mkdir(parents=True)


def make_one(store: Path, task: int, number: int) -> None:
    """One level of a task."""
    level_folder(store, PLAN.tasks[task].keys[number]).mkdir(parents=True)


def test_levels_are_counted_and_the_rest_estimated(tmp_path: Path, clock: Clock) -> None:
    make(tmp_path, 0)
    count = Count(PLAN, tmp_path)
    assert str(count) == "runs 0/4, levels 1/10"
    for position in (1, 2):
        for number in (0, 1):
            clock.now += 30
            make_one(tmp_path, position, number)
            count.look()
            # What single levels take is known when two have come one after the other; of the first
            # it is not known when it was begun.
            known = (position, number) == (2, 1)
            assert ("left" in str(count)) == known
    # Both of seed 0's runs are there: of seed 1 the dense level and two chains of two.
    assert str(count) == "runs 0/4, levels 5/10, about 2 min left"
    count.ended(0, failed=False)
    assert str(count).startswith("runs 1/4, levels 5/10")


def test_levels_that_nobody_makes_any_more_are_not_waited_for(
    tmp_path: Path, clock: Clock
) -> None:
    count = Count(PLAN, tmp_path)
    count.ended(0, failed=True)
    assert str(count) == "runs 1/4, levels 0/8"
    # The dense level of seed 0 goes when its other run has failed as well.
    count.ended(1, failed=True)
    assert str(count) == "runs 2/4, levels 0/5"
    make(tmp_path, 3, 4, 5)
    count.ended(2, failed=False)
    count.ended(3, failed=False)
    assert str(count) == "runs 4/4, levels 5/5"


def test_lines(tmp_path: Path, clock: Clock) -> None:
    stream = io.StringIO()
    with progress_for(PLAN, tmp_path, stream, quiet=False) as shown:
        clock.now += 10
        make(tmp_path, 0)
        shown.look()  # too soon for a line
        clock.now += 30
        shown.look()
        clock.now += 40
        shown.look()  # nothing new
        make(tmp_path, 1)
        shown.ended(0, None)
        shown.ended(1, "the reason")
    first, second = PLAN.names[:2]
    assert stream.getvalue().splitlines() == [
        "sweep of 4 runs, 10 levels, 0 of them already in the store (label noise: symmetric 0.4)",
        "runs 0/4, levels 1/10",
        f"run {first} done (runs 1/4, levels 3/10)",
        f"run {second} failed: the reason (runs 2/4, levels 3/8)",
    ]


def test_a_bar_on_a_terminal(tmp_path: Path) -> None:
    console = PlainConsole(file=io.StringIO(), force_terminal=True, width=200)
    live = Live(Count(PLAN, tmp_path), console)
    make(tmp_path, 0, 1)
    live.look()
    [task] = live.bar.tasks
    assert (task.completed, task.total) == (3, 10)
    live.ended(0, None)
    live.ended(1, "[no markup]")
    assert (task.completed, task.total) == (3, 8)
    assert "[no markup]" in console.file.getvalue()  # type: ignore[attr-defined]


def test_quiet(tmp_path: Path) -> None:
    stream = io.StringIO()
    with progress_for(PLAN, tmp_path, stream, quiet=True) as shown:
        shown.look()
        shown.ended(0, None)
    assert stream.getvalue() == ""


def test_durations() -> None:
    assert [duration(seconds) for seconds in (0.4, 89, 90, 600, 5400)] == [
        "0 s", "89 s", "2 min", "10 min", "1.5 h",
    ]  # fmt: skip

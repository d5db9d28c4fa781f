"""What a level, a run or an experiment costs does not grow with how many there are. Operations are
counted, not seconds."""

import gc
import os
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from support import go, small

from sdd_core import Experiment, hookimpl, load_plugins
from sdd_core.cli import sweep
from sdd_core.observers import progress
from sdd_core.runs.stored_runs import overview, run_folders
from sdd_core.sweeps import expand
from sdd_core.sweeps.plan import Counts, Plan
from sdd_core.sweeps.settings import expansion

pytestmark = pytest.mark.usefixtures("written_at_once")

CHEAP = {
    "data": {"name": "digits", "examples": 60},
    "model": {"name": "mlp", "widths": [2]},
    "train": {"epochs": 1},
    "pruner": {"name": "imp", "fraction": 0.02},
}


class Disk:
    """Counts what this process asks of the file system while it is entered."""

    def __init__(self):
        self.files: list[str] = []
        self.work = 0  # names listed, and bytes read or put in place
        self._counts = False
        sys.addaudithook(self._event)

    def __enter__(self):
        self._counts = True
        return self

    def __exit__(self, *_):
        self._counts = False

    def _event(self, event, arguments):
        if not self._counts or event not in {"open", "os.listdir", "os.scandir", "os.rename"}:
            return
        self._counts = False
        try:
            path = arguments[0]
            if event in {"os.listdir", "os.scandir"}:
                self.work += len(os.listdir(path))
            elif isinstance(path, str | Path):
                self.files.append(str(path))
                # Of a file that a line is added to, no more than its end is read.
                adds = event == "open" and "+" in str(arguments[1])
                size = os.path.getsize(path) if os.path.isfile(path) else 0
                self.work += min(size, 4096) if adds else size
        finally:
            self._counts = True


class EachLevel:
    """Notes what has been done up to the end of each level."""

    def __init__(self, disk):
        self._disk = disk
        self.work: list[int] = []
        self.files: list[int] = []

    @hookimpl
    def sdd_level_end(self):
        self.work.append(self._disk.work)
        self.files.append(len(self._disk.files))


@pytest.fixture
def cell(monkeypatch):
    """As if this process were the kernel of a notebook; what it shows goes nowhere."""
    handle = SimpleNamespace(update=lambda html: None)
    display = SimpleNamespace(HTML=str, display=lambda html, display_id: handle)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    return progress._Notebook()


@pytest.mark.parametrize("again", ["trained", "there already", "measured again"])
def test_the_last_of_many_levels_costs_what_an_early_one_does(tmp_path, cell, again):
    settings = {**CHEAP, "levels": 60}
    if again != "trained":
        metrics = {"metrics": ["sparsity"]} if again == "measured again" else {}
        go({**settings, **metrics}, tmp_path)
    with Disk() as disk:
        each = EachLevel(disk)
        go(settings, tmp_path, observers=[cell, each])
    for done in (each.work, each.files):
        early, late = done[15] - done[5], done[60] - done[50]
        assert late <= 1.1 * early, (early, late)


def test_a_run_that_shares_a_store_with_many_levels_costs_no_more(tmp_path):
    """Neither where it looks into folders that all runs have in common."""

    def cost():
        with Disk() as disk:
            go({**CHEAP, "seed": 1, "levels": 1}, tmp_path / "store")
        return disk.work

    alone = cost()
    shutil.rmtree(tmp_path / "store")
    go({**CHEAP, "levels": 0}, tmp_path / "store")
    for part in ("levels", "metrics", "points", "locks"):
        for number in range(2000):
            (tmp_path / "store" / ".shared" / part / f"{number:040x}").touch()
    assert cost() <= alone + 1000


def test_a_list_of_runs_reads_what_it_shows_alone(tmp_path):
    run = go(small(levels=1), tmp_path).folder
    with Disk() as disk:
        (found,) = [overview(folder) for folder in run_folders(tmp_path)]
    assert (found.levels, found.of) == (2, 2)
    assert {os.path.relpath(file, run) for file in disk.files} == {
        "record.json", "experiment.toml", "metrics.jsonl",
        # what trained each level
        os.path.join("levels", "00", "level.json"), os.path.join("levels", "01", "level.json"),
    }  # fmt: skip
    assert len(disk.files) == 5


SWEEP = {
    "seed": list(range(20)),
    "noise": {"rate": [0.1, 0.2]},
    "pruner": ["imp", "random"],
    "retrain": ["rewind", "rewind", "scratch"],
    "levels": 3,
}


def test_experiments_are_counted_without_being_kept(tmp_path):
    known = sum(type(one) is Experiment for one in gc.get_objects())
    most = 0

    def watched(experiments):
        nonlocal most
        for number, one in enumerate(experiments):
            if number % 40 == 39:
                alive = sum(type(one) is Experiment for one in gc.get_objects())
                most = max(most, alive - known)
            yield one

    count, each = expansion([SWEEP], load_plugins())
    found = Counts.of(watched(each), tmp_path / "none")
    assert count == 20 * 2 * 2 * 3
    assert 0 < most < 10
    plan = Plan.of(expand([SWEEP], load_plugins()))
    assert found == Counts(len(plan.names), len(plan.keys), len(plan.shared), 0)


def test_a_large_sweep_says_something_before_all_its_experiments_are_known(monkeypatch, capsys):
    monkeypatch.setattr(sweep, "MANY", 4)
    monkeypatch.setattr(sweep, "REPORT_EVERY", 0)
    told = sweep._reported(iter("abcd"), 4)
    next(told)
    assert capsys.readouterr().err == "expanded 0 of 4 experiments\n"
    assert list(told) == ["b", "c", "d"]
    assert capsys.readouterr().err.count("of 4 experiments") == 3
    assert list(sweep._reported(iter("abc"), 3)) == ["a", "b", "c"]
    assert capsys.readouterr().err == ""

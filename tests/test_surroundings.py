"""A run ends with the same bits whatever the clock, the folder and the file system are like."""

import datetime
import errno
import os
import tempfile
import time
from pathlib import Path

import pytest
from support import Log, contents, go, small

from sdd_core import hookimpl

SETTINGS = small(levels=1, train={"epochs": 1}, kernels="none")


@pytest.fixture(scope="module")
def usual(tmp_path_factory):
    """The files of a run under usual circumstances."""
    return contents(go(SETTINGS, tmp_path_factory.mktemp("usual")).folder)


def check(store, usual):
    """Begin a run, go on with it, and compare."""
    go({**SETTINGS, "levels": 0}, store)
    assert contents(go(SETTINGS, store).folder) == usual
    log = Log()
    assert contents(go(SETTINGS, store, observers=[log]).folder) == usual
    assert log.levels == [], "levels that are there are not trained again"


class Jumps:
    """Puts the clock forward and back at every event."""

    def __init__(self, monkeypatch):
        self.now, self.given = 1.9e9, monkeypatch
        for name, unit in (("time", 1), ("time_ns", 10**9)):
            monkeypatch.setattr(time, name, lambda unit=unit: type(unit)(self.now * unit))

    @hookimpl
    def sdd_level_start(self):
        self.now += 1e8

    @hookimpl
    def sdd_epoch_end(self):
        self.now -= 4e8  # to before the files were written

    @hookimpl
    def sdd_level_end(self):
        self.now = 5.0


def test_the_clock_may_jump(tmp_path, monkeypatch, usual):
    jumps = Jumps(monkeypatch)
    result = go(SETTINGS, tmp_path, observers=[jumps], checkpoint_minutes=0)
    assert jumps.now != 1.9e9
    assert contents(result.folder) == usual


def test_no_part_of_a_result_or_a_lock_asks_what_time_it_is():
    """What is to be measured is measured with a clock that nobody sets; only a tracker's server is
    told the time of day."""
    root = Path(__file__).parents[1]
    isolated = [
        file.relative_to(root).as_posix()
        for folder in ("sdd_core", "plugins")
        for file in (root / folder).rglob("*.py")
        if any(word in file.read_text() for word in ("time.time(", "time_ns(", "datetime"))
    ]
    assert isolated == ["plugins/sdd_plugins/trackers/mlflow.py"]


def test_time_stamps_may_be_coarse_or_wrong(tmp_path, usual):
    go({**SETTINGS, "levels": 0}, tmp_path)
    for stamp in (0, datetime.datetime(2999, 1, 1).timestamp()):
        for file in tmp_path.rglob("*"):
            os.utime(file, (stamp, stamp))
        assert contents(go(SETTINGS, tmp_path).folder) == usual


def test_a_path_of_more_than_200_characters(tmp_path, usual):
    store = tmp_path.joinpath(*("long" * 20 for _ in range(4)))
    assert len(str(store)) > 300
    check(store, usual)


def test_a_relative_path_and_one_with_odd_characters(tmp_path, monkeypatch, usual):
    monkeypatch.chdir(tmp_path)
    check(Path("a store"), usual)
    check(Path("..") / tmp_path.name / "[x] *?\n$é", usual)


def test_a_path_over_a_symbolic_link(tmp_path, usual):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real", target_is_directory=True)
    go({**SETTINGS, "levels": 0}, tmp_path / "real")
    check(tmp_path / "link", usual)
    assert contents(go(SETTINGS, tmp_path / "real").folder) == usual


def test_a_file_system_without_links_syncs_of_folders_and_colons(tmp_path, monkeypatch, usual):
    """As Windows and many network disks are."""
    given = {name: getattr(os, name) for name in ("open", "mkdir", "replace", "rename")}

    def no_link(*_, **__):
        raise OSError(errno.EPERM, "no links")

    def guarded(name):
        def call(path, *arguments, **options):
            for one in (path, *arguments[:1]):
                assert set(os.path.basename(os.fspath(one)) if isinstance(one, str | os.PathLike)
                           else "").isdisjoint('<>:"/\\|?*')
            if name == "open" and os.path.isdir(path):
                raise PermissionError(errno.EACCES, "a folder")
            return given[name](path, *arguments, **options)
        return call

    for name in given:
        monkeypatch.setattr(os, name, guarded(name))
    for name in ("link", "symlink"):
        monkeypatch.setattr(os, name, no_link)
    check(tmp_path, usual)
    assert all(file.stat().st_nlink == 1 for file in tmp_path.rglob("*") if file.is_file())


def test_there_need_be_no_folder_for_temporary_files(tmp_path, monkeypatch, usual):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    check(tmp_path / "store", usual)

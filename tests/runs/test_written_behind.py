"""The files of a level are written while its metrics are measured, and every promise holds."""

import errno
import os
import threading
from concurrent.futures import Future
from contextlib import ExitStack

import pytest
from support import contents, go, plugins_with, small

from sdd_core import Metric, SddError, hookimpl
from sdd_core.files import atomic
from sdd_core.level.level import Level
from sdd_core.runs import store as module
from sdd_core.runs.store import Store
from sdd_core.training.metrics import Metrics


@pytest.fixture
def slow_disk(monkeypatch):
    """Writing a level waits until it is allowed to go on."""
    write, allowed = module.write_level, threading.Event()

    def when_allowed(*arguments):
        allowed.wait()
        write(*arguments)

    monkeypatch.setattr(module, "write_level", when_allowed)
    return allowed


def metric_that(does):
    class Probe(Metric):
        """A metric that does something."""

        name = "probe"

        def measure(self, level):
            does(level)
            return {"probe": 1.0}

    return plugins_with(sdd_metrics=[Probe])


def run(does, store, **options):
    return go(small(levels=1, metrics=["probe"]), store, plugins=metric_that(does), **options)


def test_metrics_are_measured_before_the_level_is_written(tmp_path, slow_disk):
    found = []

    def look(level):
        levels = (tmp_path / ".shared" / "levels").iterdir()
        found.append(sum(folder.suffix != ".partial" for folder in levels))
        slow_disk.set()

    run(look, tmp_path)
    assert found[0] == 0


def test_a_level_that_ends_is_on_the_disk_with_its_row(tmp_path):
    class Ends:
        @hookimpl
        def sdd_level_end(self, run, level):
            assert (tmp_path / ".shared" / "levels" / level.key / "level.json").is_file()
            assert (run.folder / "levels" / f"{level.level:02d}" / "weights.safetensors").is_file()
            assert level.key in (run.folder / "metrics.jsonl").read_text()
            seen.append(level.level)

    seen = []
    run(lambda level: None, tmp_path, observers=[Ends()])
    assert seen == [0, 1]


def test_no_measurement_and_no_row_is_written_for_a_level_that_is_not(tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(module, "write_level", full)
    with pytest.raises(SddError, match=r"cannot write .*No space left on device"):
        run(lambda level: None, tmp_path)
    assert not list((tmp_path / ".shared" / "metrics").iterdir())
    assert not list(tmp_path.glob("*/metrics.jsonl"))
    assert not list((tmp_path / ".shared" / "levels").iterdir())
    assert_unlocked(tmp_path)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SddError])
def test_what_ends_a_run_waits_for_the_files(tmp_path, slow_disk, monkeypatch, error):
    def stop(*arguments):
        threading.Timer(0.2, slow_disk.set).start()
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(Metrics, "measure", stop)
        with pytest.raises(error):
            go(small(levels=1), tmp_path / "store")
    [level] = (tmp_path / "store" / ".shared" / "levels").iterdir()
    assert module.damaged_file(level) is None
    assert_unlocked(tmp_path / "store")
    again = go(small(levels=1), tmp_path / "store")
    assert contents(again.folder) == contents(go(small(levels=1), tmp_path / "whole").folder)


def test_the_lock_is_held_until_the_files_are_written(tmp_path, monkeypatch):
    events, allowed = [], threading.Event()

    def write(*arguments):
        allowed.wait()
        events.append("written")

    def interrupted(self, timeout=None):
        threading.Timer(0.1, allowed.set).start()
        raise KeyboardInterrupt

    store, held = Store(tmp_path), ExitStack()
    held.callback(events.append, "freed")
    monkeypatch.setattr(store, "_write_level", write)
    monkeypatch.setattr(Future, "result", interrupted)
    store.save_level("a" * 40, Level(0, {}, {}, ()), held)
    with pytest.raises(KeyboardInterrupt):
        store.finish()
    assert events == ["written", "freed"]


def assert_unlocked(store):
    """Another thread gets every lock at once."""
    for file in (store / ".shared" / "locks").glob("*.lock"):
        with atomic.locked(file, "testing"):
            pass

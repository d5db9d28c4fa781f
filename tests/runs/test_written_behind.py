"""The files of a level are written while the next one trains, and every promise holds."""

import errno
import os
import signal
import threading
from contextlib import ExitStack

import pytest
from support import contents, go, in_child, small
from waiting import wait_until

from sdd_core import SddError, hookimpl
from sdd_core.files import atomic
from sdd_core.level.level import Level
from sdd_core.runs import run_folder
from sdd_core.runs import store as module
from sdd_core.runs.store import Store
from sdd_core.runs.writer import Writer
from sdd_core.training import level_trainer

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
LONG = 20  # seconds that nothing here takes, so that a fault does not wait forever


@pytest.fixture
def slow_disk(monkeypatch):
    """Writing a level waits until it is allowed to go on."""
    write, allowed = module.write_level, threading.Event()

    def when_allowed(*arguments):
        allowed.wait(LONG)
        write(*arguments)

    monkeypatch.setattr(module, "write_level", when_allowed)
    yield allowed
    allowed.set()


@pytest.fixture
def broken_disk(monkeypatch):
    """A function: from this level on, none can be written."""

    def breaks(first):
        write = module.write_level

        def full(folder, key, level):
            if level.index >= first:
                raise FULL
            write(folder, key, level)

        monkeypatch.setattr(module, "write_level", full)

    return breaks


def when_trained(monkeypatch, level, before=lambda: None, after=lambda: None):
    """Do something before and after the training of a level."""
    train = level_trainer.train_level

    def training(trainer, data, task, *rest):
        if task.level == level:
            before()
        found = train(trainer, data, task, *rest)
        if task.level == level:
            after()
        return found

    monkeypatch.setattr(level_trainer, "train_level", training)


def levels_of(store):
    return [one for one in (store / ".shared" / "levels").iterdir() if one.suffix != ".partial"]


class Told:
    """Notes what a run tells, and that each level that ends is complete on the disk."""

    def __init__(self):
        self.heard = []
        self.incomplete = []

    @hookimpl
    def sdd_run_start(self):
        self.heard.append("run starts")

    @hookimpl
    def sdd_level_start(self, level):
        self.heard.append(f"level {level} starts")

    @hookimpl
    def sdd_epoch_start(self, level, epoch):
        self.heard.append(f"epoch {level}.{epoch} starts")

    @hookimpl
    def sdd_epoch_end(self, level, epoch):
        self.heard.append(f"epoch {level}.{epoch.number} ends")

    @hookimpl
    def sdd_level_end(self, run, level):
        self.heard.append(f"level {level.level} ends")
        stored = run.folder.parent / ".shared" / "levels" / level.key
        linked = run.folder / "levels" / f"{level.level:02d}"
        complete = (module.level_folder(run.folder.parent, level.key) == stored
                    and all((folder / "weights.safetensors").is_file()
                            and (folder / "SHA256SUMS").is_file() for folder in (stored, linked))
                    and level.key in (run.folder / "metrics.jsonl").read_text()
                    and (stored.parents[1] / "metrics" / f"{level.key}.json").is_file())
        if not complete:
            self.incomplete.append(level.level)

    @hookimpl
    def sdd_run_end(self, run, result):
        self.heard.append("run ends")
        if len(list((run.folder / "levels").iterdir())) != len(result.levels):
            self.incomplete.append("run")


def story(levels, epochs):
    """What a run tells, in order."""
    yield "run starts"
    for level in range(levels + 1):
        yield f"level {level} starts"
        for epoch in range(1, epochs + 1):
            yield f"epoch {level}.{epoch} starts"
            yield f"epoch {level}.{epoch} ends"
        yield f"level {level} ends"
    yield "run ends"


def test_the_next_level_trains_while_a_level_is_written(tmp_path, slow_disk, monkeypatch):
    found, told = [], Told()

    def trained():
        found.append((levels_of(tmp_path), list(told.heard)))
        slow_disk.set()

    when_trained(monkeypatch, 1, after=trained)
    go(small(levels=2, train={"epochs": 2}), tmp_path, observers=[told])
    # Level 1 is trained, level 0 is not written, and nobody has heard of its end.
    [(written, heard)] = found
    assert written == []
    assert heard[-1] == "epoch 0.2 ends"
    assert told.heard == list(story(2, 2))
    assert told.incomplete == []


def test_observers_hear_of_stored_levels_in_the_order_in_which_all_happened(tmp_path):
    for _ in range(2):  # levels that are reused the second time end too
        told = Told()
        go(small(levels=3, train={"epochs": 2}), tmp_path, observers=[told])
        assert told.incomplete == []
        assert [line for line in told.heard if line.startswith("level") and "ends" in line] == [
            f"level {level} ends" for level in range(4)]
    fresh = Told()
    go(small(levels=3, train={"epochs": 2}), tmp_path / "fresh", observers=[fresh])
    assert fresh.heard == list(story(3, 2))


def test_a_wait_is_told_before_it(monkeypatch):
    """Not when the files of the level before happen to be written."""
    writer, allowed, told = Writer(), threading.Event(), []
    writer.write(lambda: allowed.wait(LONG))
    threading.Timer(0.1, allowed.set).start()
    level_trainer._tell_wait(writer, lambda hook, **given: writer.then(told.append, hook))
    assert told == ["sdd_wait"]


@pytest.mark.parametrize("first", [0, 1, 2])
def test_a_disk_that_is_full_ends_the_run_with_nothing_after_the_gap(tmp_path, broken_disk, first):
    broken_disk(first)
    told = Told()
    with pytest.raises(SddError, match=r"^cannot write .*: No space left on device; free [^\n]*$"):
        go(small(levels=3, train={"epochs": 1}), tmp_path, observers=[told])
    assert len(levels_of(tmp_path)) == first
    assert len(list((tmp_path / ".shared" / "metrics").iterdir())) == first
    rows = [one.read_text().splitlines() for one in tmp_path.glob("*/metrics.jsonl")]
    assert [len(lines) for lines in rows] == ([first] if first else [])
    assert len(list(tmp_path.glob("digits*/levels/*"))) == first
    assert [line for line in told.heard if line.startswith("level") and "ends" in line] == [
        f"level {level} ends" for level in range(first)]
    assert told.heard[-1] != "run ends"
    assert_unlocked(tmp_path)


def test_a_full_disk_ends_the_run_while_the_next_level_trains(tmp_path, broken_disk, monkeypatch):
    """Not at the end of that level, which may be hours later."""
    broken_disk(0)
    started, ended, writers = [], [], []
    write = Writer.write
    monkeypatch.setattr(Writer, "write", lambda self, *rest: (writers.append(self),
                                                              write(self, *rest)))

    def failed():
        started.append(1)
        wait_until(writers[0]._last.done)

    when_trained(monkeypatch, 1, before=failed, after=lambda: ended.append(1))
    with pytest.raises(SddError, match="No space left"):
        go(small(levels=1, train={"epochs": 5}), tmp_path)
    assert started == [1] or not started  # or it was seen even before
    assert not ended


@pytest.mark.parametrize("write", ["save_metrics", "keep", "link"])
def test_whatever_cannot_be_written_ends_the_run(tmp_path, monkeypatch, write):
    """Not only the level itself."""
    places = {"save_metrics": (module, "write_atomic"), "keep": (run_folder, "append_line"),
              "link": (run_folder, "link_or_copy")}

    def full(*_, **__):
        with atomic.disk_errors(tmp_path):
            raise FULL

    monkeypatch.setattr(*places[write], full)
    told = Told()
    with pytest.raises(SddError, match="No space left"):
        go(small(levels=2, train={"epochs": 1}), tmp_path / "store", observers=[told])
    assert not any("level" in line and "ends" in line for line in told.heard)
    assert not list(tmp_path.glob("store/digits*/levels/01"))
    monkeypatch.undo()
    again = go(small(levels=2, train={"epochs": 1}), tmp_path / "store")
    whole = go(small(levels=2, train={"epochs": 1}), tmp_path / "whole")
    assert contents(again.folder) == contents(whole.folder)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SddError])
def test_what_ends_a_run_waits_for_the_files(tmp_path, slow_disk, monkeypatch, error):
    def stop():
        threading.Timer(0.2, slow_disk.set).start()
        raise error

    store, told = tmp_path / "store", Told()
    with monkeypatch.context() as patch:
        when_trained(patch, 1, before=stop)
        with pytest.raises(error):
            go(small(levels=1), store, observers=[told])
    [level] = levels_of(store)
    assert module.damaged_file(level) is None
    assert told.heard[-2:] == ["level 0 ends", "level 1 starts"]
    assert told.incomplete == []
    assert_unlocked(store)
    again = go(small(levels=1), store)
    assert contents(again.folder) == contents(go(small(levels=1), tmp_path / "whole").folder)


def test_ctrl_c_while_the_disk_is_full_is_ctrl_c_and_says_so(tmp_path, monkeypatch, capsys):
    stopped = threading.Event()

    def full(*_):
        stopped.wait(LONG)
        raise FULL

    def stop():
        threading.Timer(0.2, stopped.set).start()
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "write_level", full)
    when_trained(monkeypatch, 1, before=stop)
    with pytest.raises(KeyboardInterrupt):
        go(small(levels=1), tmp_path)
    assert "No space left on device" in capsys.readouterr().err
    assert levels_of(tmp_path) == []


def test_a_run_that_is_killed_before_a_level_is_written_goes_on(tmp_path, slow_disk):
    """The next level is half trained, with a checkpoint, and the last one is not there."""
    settings = small(levels=2, train={"epochs": 3})

    def work():
        keep = module.Checkpoints.save

        def save(self, key, checkpoint):
            keep(self, key, checkpoint)
            if len({file.name.split("-")[0] for file in self._folder.iterdir()}) > 1:
                os.kill(os.getpid(), signal.SIGKILL)

        module.Checkpoints.save = save
        go(settings, tmp_path / "killed", checkpoint_minutes=0)

    assert in_child(work) == -signal.SIGKILL
    assert levels_of(tmp_path / "killed") == []
    slow_disk.set()
    again = go(settings, tmp_path / "killed")
    assert contents(again.folder) == contents(go(settings, tmp_path / "whole").folder)
    assert not list((tmp_path / "killed" / ".shared" / "checkpoints").iterdir())


def test_a_level_is_locked_until_it_is_written_and_no_longer(tmp_path, slow_disk):
    """Another process waits for it, and need not wait for the next level too."""
    store, held, key = Store(tmp_path), ExitStack(), "a" * 40
    held.enter_context(store.lock(key))
    store.save_level(key, Level(0, {}, {}, ()), held)
    got = threading.Event()

    def other():
        with Store(tmp_path).lock(key):
            assert module.damaged_file(store.level_folder(key)) is None
            got.set()

    waiting = threading.Thread(target=other, daemon=True)
    waiting.start()
    assert not got.wait(0.2)
    slow_disk.set()  # and this thread, which made the level, does nothing more
    assert got.wait(LONG)
    waiting.join()
    store.writer.finish()


def test_the_tensors_of_a_level_stay_as_they_are_while_it_is_written(tmp_path, monkeypatch):
    """Whatever the next level does with them."""
    settings = small(levels=2, train={"epochs": 1})
    write = module.write_level

    def late(folder, key, level):
        tensors = [*level.state.values(), *level.masks.values()]
        before = [(tensor.clone(), tensor._version) for tensor in tensors]
        if level.index < 2:
            trained.acquire(timeout=LONG)
        for tensor, (content, version) in zip(tensors, before, strict=True):
            assert (tensor == content).all()
            assert tensor._version == version
        write(folder, key, level)

    for retrain in ("finetune", "lr-rewind", "rewind"):
        trained = threading.Semaphore(0)
        with monkeypatch.context() as patch:
            patch.setattr(module, "write_level", late)
            for level in (1, 2):
                when_trained(patch, level, after=trained.release)
            found = go({**settings, "retrain": retrain}, tmp_path / "late")
        whole = go({**settings, "retrain": retrain}, tmp_path / "whole")
        assert contents(found.folder) == contents(whole.folder)


def assert_unlocked(store):
    """Another thread gets every lock at once."""
    for file in (store / ".shared" / "locks").glob("*.lock"):
        with atomic.locked(file, "testing"):
            pass


def test_a_thread_waits_for_its_own_level_once_the_writer_has_it(tmp_path, slow_disk, monkeypatch):
    """It is neither refused nor taken for a deadlock, because the writer releases the lock."""
    store, held, key = Store(tmp_path), ExitStack(), "a" * 40
    monkeypatch.setattr(atomic, "warn", lambda text: slow_disk.set())
    held.enter_context(store.lock(key))
    with pytest.raises(SddError, match="is being made by the run that called this"), \
            store.lock(key):
        pass
    store.save_level(key, Level(0, {}, {}, ()), held)
    with Store(tmp_path).lock(key):
        assert store.level_folder(key).exists()
    store.writer.finish()

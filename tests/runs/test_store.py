"""The store keeps levels exactly, never uses a damaged one and is never half-written."""

import ast
import errno
import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors import safe_open
from support import Log, contents, end_of, go, in_child, small, start_child
from waiting import wait_until

from sdd_core import Epoch, SddError
from sdd_core.files import atomic
from sdd_core.files.entries import damaged_file
from sdd_core.level.checkpoint import Checkpoint
from sdd_core.level.level import Level
from sdd_core.runs import store
from sdd_core.runs.level_files import LEVEL_FILES
from sdd_core.runs.store import Store

SOURCES = [Path(store.__file__).parents[1], Path(store.__file__).parents[2] / "plugins"]


def level_of(masks, **changes):
    draw = torch.Generator().manual_seed(len(masks))
    state = {
        name: torch.randn(mask.shape, generator=draw).masked_fill(~mask, 0.0)
        for name, mask in masks.items()
    }
    state |= {"norm.running_mean": torch.tensor([1.5, -0.0]), "norm.count": torch.tensor(7)}
    epochs = (Epoch(1, 8, 0.1, 0.3333333333333333, 0.5, 1 / 7, 0.1), Epoch(2, 16, 0.01, 0.2, 0.6))
    return replace(Level(1, masks, state, epochs, False, ("sparse", "dense")), **changes)


def assert_same_level(one, other):
    assert list(one.masks) == list(other.masks)
    for found, expected in ((one.masks, other.masks), (one.state, other.state)):
        assert found.keys() == expected.keys()
        for name in expected:
            assert found[name].dtype == expected[name].dtype
            assert found[name].shape == expected[name].shape
            assert found[name].numpy().tobytes() == expected[name].numpy().tobytes(), name
    assert (one.index, one.epochs, one.diverged) == (other.index, other.epochs, other.diverged)
    assert one.kernels == other.kernels


@given(
    st.lists(
        hnp.arrays(bool, hnp.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=5)),
        min_size=1,
        max_size=3,
    )
)
@settings(max_examples=25)
def test_a_level_comes_back_bit_for_bit(tmp_path_factory, arrays):
    # Names in an order that is not the alphabet's: masks keep the network's.
    masks = {f"layer{9 - n}.weight": torch.from_numpy(a) for n, a in enumerate(arrays)}
    level = level_of(masks)
    kept = Store(tmp_path_factory.mktemp("store"))
    kept.save_level("key", level)
    found = kept.load_level("key")
    assert found is not None
    assert_same_level(found, level)


def test_masks_take_a_bit_and_pruned_weights_nothing(tmp_path):
    mask = torch.zeros(100, 80, dtype=torch.bool)
    mask[3, 5] = mask[99, 79] = True
    kept = Store(tmp_path)
    kept.save_level("key", level_of({"w": mask}))
    folder = kept.level_folder("key")
    assert (folder / "masks.safetensors").stat().st_size < 100 * 80 / 8 + 300
    with safe_open(folder / "weights.safetensors", "np") as opened:
        assert opened.get_tensor("w").shape == (2,)


def test_tied_weights_can_be_kept(tmp_path):
    shared = torch.ones(3)
    Store(tmp_path).save_point("key", {"a": shared.clone(), "b": shared.clone()})
    found = Store(tmp_path).load_point("key")
    assert found is not None
    assert torch.equal(found["a"], found["b"])


def some_checkpoint(taken=5):
    return Checkpoint(
        taken,
        (Epoch(1, 4, 0.1, 0.5, 0.25),),
        {"w": torch.arange(600.0) + taken},
        {"w": torch.full((600,), -0.0)},
        {"cpu": torch.get_rng_state()},
        ("sparse",),
    )


def test_a_checkpoint_comes_back_bit_for_bit(tmp_path):
    kept, checkpoint = Store(tmp_path), some_checkpoint()
    kept.checkpoints.save("key", checkpoint)
    found = Store(tmp_path).checkpoints.load("key")
    assert found is not None
    assert (found.taken, found.epochs, found.kernels) == (5, checkpoint.epochs, ("sparse",))
    for part in ("state", "momenta", "random_state"):
        for name, tensor in getattr(checkpoint, part).items():
            assert getattr(found, part)[name].numpy().tobytes() == tensor.numpy().tobytes()


def test_only_the_latest_checkpoint_is_kept_and_none_of_a_finished_level(tmp_path):
    kept = Store(tmp_path)
    for taken in (5, 12, 100):
        kept.checkpoints.save("key", some_checkpoint(taken))
    kept.checkpoints.save("other", some_checkpoint(3))
    folder = tmp_path / ".shared" / "checkpoints"
    assert len(list(folder.iterdir())) == 2
    assert kept.checkpoints.load("key").taken == 100
    kept.save_level("key", level_of({"w": torch.ones(2, dtype=torch.bool)}))
    assert [path.name.split("-")[0] for path in folder.iterdir()] == ["other"]


@pytest.mark.parametrize("harm", ["flip", "cut", "empty"])
def test_a_damaged_checkpoint_is_not_used(tmp_path, capsys, harm):
    kept = Store(tmp_path)
    kept.checkpoints.save("key", some_checkpoint())
    (file,) = (tmp_path / ".shared" / "checkpoints").iterdir()
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    cut = {"flip": content, "cut": content[: len(content) // 2], "empty": b""}[harm]
    file.write_bytes(cut)
    assert kept.checkpoints.load("key") is None
    assert "checkpoint key-5-" in capsys.readouterr().err


def test_a_whole_checkpoint_is_used_where_a_later_one_is_damaged(tmp_path):
    kept = Store(tmp_path)
    kept.checkpoints.save("key", some_checkpoint(5))
    (early,) = (tmp_path / ".shared" / "checkpoints").iterdir()
    content = early.read_bytes()
    kept.checkpoints.save("key", some_checkpoint(9))
    (late,) = (tmp_path / ".shared" / "checkpoints").iterdir()
    late.write_bytes(late.read_bytes()[:100])
    early.write_bytes(content)  # as after a kill between writing one and deleting the other
    assert kept.checkpoints.load("key").taken == 5


@pytest.mark.parametrize("name", [*LEVEL_FILES, "SHA256SUMS"])
def test_a_damaged_level_is_trained_again_and_never_used(tmp_path, capsys, name):
    whole = go(small(), tmp_path / "whole")
    result = go(small(), tmp_path / "store")
    file = Store(tmp_path / "store").level_folder(result.levels[1].key) / name
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 4
    file.write_bytes(content)  # in place: the run's folder has the same file
    log = Log()
    again = go(small(), tmp_path / "store", observers=[log])
    assert log.levels == [1]
    assert f"level {result.levels[1].key[:12]} is damaged" in capsys.readouterr().err
    assert contents(again.folder) == contents(whole.folder)


def test_a_damaged_rewind_point_is_made_again(tmp_path, capsys):
    settings = small(retrain={"name": "rewind", "to": 3})
    whole = go(settings, tmp_path / "whole")
    go({**settings, "levels": 0}, tmp_path / "store")
    go({**settings, "levels": 1}, tmp_path / "store")
    for file in (tmp_path / "store" / ".shared" / "points").glob("*/weights.safetensors"):
        file.write_bytes(file.read_bytes()[:-4] + b"\0\0\0\1")
    again = go(settings, tmp_path / "store")
    assert "point " in capsys.readouterr().err
    assert contents(again.folder) == contents(whole.folder)


def test_a_full_disk_is_one_line_and_the_run_goes_on_later(tmp_path, monkeypatch):
    whole = go(small(), tmp_path / "whole")
    sync = atomic._sync
    for space in (1, 4, 9, 14, 8):
        left = [space]

        def fill(path, left=left):
            left[0] -= 1
            if left[0] < 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            sync(path)

        monkeypatch.setattr(atomic, "_sync", fill)
        with pytest.raises(SddError, match=r"cannot write .*No space left on device") as refused:
            go(small(), tmp_path / "store", checkpoint_minutes=0)
        assert "\n" not in str(refused.value)
        shared = tmp_path / "store" / ".shared"
        for entry in (*(shared / "levels").iterdir(), *(shared / "points").iterdir()):
            assert damaged_file(entry) is None
    monkeypatch.setattr(atomic, "_sync", sync)
    result = go(small(), tmp_path / "store")
    assert contents(result.folder) == contents(whole.folder)


def test_an_unwritable_folder_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SddError, match=r"cannot write .*file.*--store"):
        go(small(), tmp_path / "file" / "store")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_folder_without_permission_is_one_line(tmp_path, monkeypatch):
    def denied(self, *_, **__):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self))

    monkeypatch.setattr(Path, "mkdir", denied)
    with pytest.raises(SddError, match=r"cannot write .*store: Permission denied"):
        Store(tmp_path / "store")


def test_two_processes_train_each_level_once(tmp_path):
    """The same run twice at once, and beside it one that shares the dense network."""
    diary = tmp_path / "diary"

    class Diary(Log):
        def work(self, settings):
            torch.set_num_threads(1)
            result = go(settings, tmp_path / "store", checkpoint_minutes=0, observers=[self])
            with diary.open("a") as lines:
                lines.writelines(f"{result.run} {level}\n" for level in self.levels)

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    settings = small(train={"epochs": 20})
    other = {**settings, "retrain": "scratch"}
    children = [
        start_child(lambda chosen=chosen: Diary().work(chosen))
        for chosen in (settings, settings, other)
    ]
    assert [end_of(child) for child in children] == [0, 0, 0]
    trained = [line.rpartition(" ")[0::2] for line in diary.read_text().splitlines()]
    assert len(trained) == len(set(trained))
    assert sorted(level for _, level in trained) == ["0", "1", "1", "2", "2"]
    alone = go(settings, tmp_path / "alone")
    assert contents(tmp_path / "store" / alone.run) == contents(alone.folder)
    torch.set_num_threads(threads)


def test_a_process_waits_for_a_lock_aloud_and_death_frees_it(tmp_path, capfd):
    key = "0123456789abcdef"

    def hold():
        with Store(tmp_path).lock(key):
            (tmp_path / "held").touch()
            signal.pause()

    child = start_child(hold)
    wait_until((tmp_path / "held").exists)

    def wait():
        with Store(tmp_path).lock(key):
            (tmp_path / "mine").touch()

    waiting = start_child(wait)
    said = f"waiting for another process, which is making {key[:12]}\n"
    wait_until(lambda: said in capfd.readouterr().err)
    assert not (tmp_path / "mine").exists()
    os.kill(child, signal.SIGKILL)
    assert end_of(child) == -signal.SIGKILL
    assert end_of(waiting) == 0
    assert (tmp_path / "mine").exists()


def test_no_pickle_is_read_or_written():
    """Nowhere in the sources is there anything that reads or writes one; executors alone pass
    work to processes that they started, through pipes, and no file. Files of torch.save, which
    pretrained weights may come in, are read without executing what is in them."""
    for folder in SOURCES:
        for file in folder.rglob("*.py"):
            if file.parent.name == "executors":
                continue
            for node in ast.walk(ast.parse(file.read_text())):
                names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
                names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                assert not {"pickle", "cPickle", "joblib", "shelve", "dill"} & set(names), file
                if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
                    assert "weights_only=True" in map(ast.unparse, node.keywords), file
                assert not (isinstance(node, ast.Attribute) and ast.unparse(node) == "torch.save")
                if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
                    assert ast.unparse(node.value) == "False", file


def test_a_run_reads_no_pickle(tmp_path):
    """Nor do the libraries that it calls, neither fresh nor when it goes on."""

    def work():
        import pickle

        def refuse(*_, **__):
            raise AssertionError("a pickle")

        pickle.load = pickle.loads = pickle.Unpickler = refuse
        np.load = torch.load = refuse
        go(small(levels=1), tmp_path, checkpoint_minutes=0)
        go(small(), tmp_path, checkpoint_minutes=0)

    go(small(levels=0), tmp_path / "warm")
    assert in_child(work) == 0

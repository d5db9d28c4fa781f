"""An error is not damage: what cannot be read is left as it is, and named in one line."""

import errno
import os
import shutil
import stat
from pathlib import Path

import pytest
import torch
from support import Log, contents, go, in_child, small

from sdd_core import SddError
from sdd_core.files.entries import damaged_entries, level_is_whole
from sdd_core.files.reading import LARGEST_SETTINGS, is_folder, names_in, read_bytes
from sdd_core.level.checkpoint import Checkpoint
from sdd_core.runs.store import Store

SETTINGS = small(levels=1, train={"epochs": 2})
ERRORS = [errno.EACCES, errno.EIO, errno.ESTALE, errno.ELOOP]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A store with one run, to be copied."""
    return go(SETTINGS, tmp_path_factory.mktemp("made") / "store")


@pytest.fixture
def store(made, tmp_path):
    """A store of its own, with a checkpoint and a table of kernel costs too."""
    shutil.copytree(made.folder.parent, tmp_path / "store")
    go(SETTINGS, tmp_path / "store")
    return tmp_path / "store"


def files_that_are_read(store, made):
    """One file of each sort that a run reads when it goes on."""
    level = store / ".shared" / "levels" / made.levels[1].key
    names = ("record.json", "experiment.toml", "metrics.jsonl")
    return [*sorted(level.iterdir()), *(store / made.run / name for name in names)]


def failing(monkeypatch, call, path, number):
    """Make one call to the system fail for one path."""
    works = getattr(os, call)

    def fails(asked, *arguments, **named):
        if not isinstance(asked, int) and Path(os.fsdecode(asked)) == path:
            raise OSError(number, os.strerror(number), str(asked))
        return works(asked, *arguments, **named)

    monkeypatch.setattr(os, call, fails)


@pytest.mark.parametrize("number", ERRORS, ids=errno.errorcode.get)
def test_a_file_that_cannot_be_read_is_named_and_nothing_changes(
    store, made, monkeypatch, number
):
    before = contents(store)
    for file in files_that_are_read(store, made):
        log = Log()
        with monkeypatch.context() as patched:
            failing(patched, "open", file, number)
            with pytest.raises(SddError) as refused:
                go(SETTINGS, store, observers=[log])
        assert str(file) in str(refused.value), file
        assert os.strerror(number) in str(refused.value)
        assert "\n" not in str(refused.value)
        assert contents(store) == before, file
        assert log.levels == []
    assert damaged_entries(store) == []


@pytest.mark.parametrize("call", ["stat", "listdir"])
def test_a_folder_that_cannot_be_entered_is_named_and_stays(store, made, monkeypatch, call):
    level = store / ".shared" / "levels" / made.levels[1].key
    before = contents(store)
    with monkeypatch.context() as patched:
        failing(patched, call, level, errno.EACCES)
        with pytest.raises(SddError, match=level.name):
            go(SETTINGS, store)
    assert contents(store) == before


def test_a_rewind_point_that_cannot_be_read_is_named_and_stays(store, made, monkeypatch):
    shutil.rmtree(store / ".shared" / "levels" / made.levels[1].key)  # so that it is needed
    before = contents(store / ".shared" / "points")
    for file in (store / ".shared" / "points").glob("*/*"):
        with monkeypatch.context() as patched:
            failing(patched, "open", file, errno.EIO)
            with pytest.raises(SddError, match=file.parent.name):
                go(SETTINGS, store)
    assert contents(store / ".shared" / "points") == before


def test_a_checkpoint_that_cannot_be_read_is_named_and_stays(store, made, monkeypatch):
    checkpoint = Checkpoint(5, (), {"w": torch.ones(2)}, {}, {}, ())
    kept = Store(store)
    kept.checkpoints.save("key", checkpoint)
    (file,) = (store / ".shared" / "checkpoints").iterdir()
    with monkeypatch.context() as patched:
        failing(patched, "open", file, errno.EIO)
        with pytest.raises(SddError, match=file.name):
            kept.checkpoints.load("key")
    assert kept.checkpoints.load("key").taken == 5


def test_measurements_that_cannot_be_read_are_not_taken_again(store, made, monkeypatch):
    file = store / ".shared" / "metrics" / f"{made.levels[1].key}.json"
    (made_run := store / made.run).joinpath("metrics.jsonl").unlink()
    before = file.read_bytes()
    with monkeypatch.context() as patched:
        failing(patched, "open", file, errno.EIO)
        with pytest.raises(SddError, match=file.name):
            go(SETTINGS, store)
    assert file.read_bytes() == before
    assert go(SETTINGS, store).folder == made_run


def test_levels_without_permission_stay(store, made):
    """For real: by a user whom the system refuses."""
    levels = store / ".shared" / "levels"
    before = contents(store)
    root = os.geteuid() == 0
    if root:
        for path in (store, *store.rglob("*")):
            os.chown(path, 65534, 65534)
    for folder in levels.iterdir():
        folder.chmod(0)

    def work():
        os.chdir(store)
        if root:
            os.setgid(65534)
            os.setuid(65534)
        with pytest.raises(SddError, match="Permission denied") as refused:
            go(SETTINGS, Path("."))
        assert "\n" not in str(refused.value)
        with pytest.raises(SddError, match="Permission denied"):
            level_is_whole(Path("."), made.levels[0].key)

    assert in_child(work) == 0
    for folder in levels.iterdir():
        folder.chmod(0o700)
    assert contents(store) == before


def test_what_is_damaged_is_set_aside_and_never_deleted(store, made, capsys):
    levels = store / ".shared" / "levels"
    folder = levels / made.levels[1].key
    for turn in range(2):
        content = (folder / "masks.safetensors").read_bytes()
        harmed = content[:-1] + bytes([content[-1] ^ 1])
        (folder / "masks.safetensors").write_bytes(harmed)
        log = Log()
        result = go(SETTINGS, store, observers=[log])
        assert log.levels == [1]
        aside = store / ".shared" / "damaged" / "levels"
        names = [folder.name, f"{folder.name}.2"]
        assert sorted(path.name for path in aside.iterdir()) == names[: turn + 1]
        assert (aside / names[turn] / "masks.safetensors").read_bytes() == harmed
        assert str(aside / names[turn]) in capsys.readouterr().err
        assert result.levels == made.levels
    assert len(damaged_entries(store)) == 2


def test_a_missing_file_is_damage(store, made):
    for name in ("weights.safetensors", "SHA256SUMS"):
        (store / ".shared" / "levels" / made.levels[1].key / name).unlink()
        log = Log()
        go(SETTINGS, store, observers=[log])
        assert log.levels == [1], name


def test_levels_and_points_that_have_changed_places_are_made_again(store, made):
    for part in ("levels", "points"):
        go({**SETTINGS, "retrain": {"name": "rewind", "to": 3}}, store)
        one, other, *_ = sorted((store / ".shared" / part).iterdir())
        one.rename(other.with_name("between"))
        other.rename(one)
        other.with_name("between").rename(other)
        assert go(SETTINGS, store).levels == made.levels
        assert damaged_entries(store)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_file_is_refused_at_once(store, made, make):
    """A pipe would make the reader wait for a writer for ever."""
    for file in files_that_are_read(store, made):
        content = file.read_bytes()
        file.unlink()
        make(file)
        with pytest.raises(SddError, match="is not a regular file") as refused:
            go(SETTINGS, store)
        assert str(file) in str(refused.value)
        file.rmdir() if stat.S_ISDIR(file.stat().st_mode) else file.unlink()
        file.write_bytes(content)


def test_a_device_is_not_read(tmp_path):
    (tmp_path / "endless").symlink_to("/dev/zero")
    with pytest.raises(SddError, match="endless: it is not a regular file"):
        read_bytes(tmp_path / "endless")


def test_a_file_that_is_too_large_is_not_read(tmp_path):
    with (tmp_path / "large").open("wb") as file:
        file.truncate(LARGEST_SETTINGS + 1)
    says = "large: it has 16,777,217 bytes, expected at most 16,777,21"
    with pytest.raises(SddError, match=says):
        read_bytes(tmp_path / "large", LARGEST_SETTINGS)
    assert len(read_bytes(tmp_path / "large", LARGEST_SETTINGS + 1)) == LARGEST_SETTINGS + 1


def test_a_folder_or_something_in_its_place(tmp_path):
    (tmp_path / "file").write_text("")
    assert is_folder(tmp_path)
    assert not is_folder(tmp_path / "none")
    assert names_in(tmp_path / "none") == []
    with pytest.raises(SddError, match="file: it is not a folder"):
        is_folder(tmp_path / "file")

"""Files and entries exist entirely or not at all, whenever the process stops."""

import errno
import os
import resource
import signal
import stat
import subprocess
import sys
import textwrap
import threading
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
from filelock import FileLock
from support import contents, in_child
from waiting import wait_until

from sdd_core import SddError
from sdd_core.files import atomic
from sdd_core.files.atomic import append_line, link_or_copy, new_entries, write_atomic
from sdd_core.files.entries import damaged_file, write_entry
from sdd_core.files.reading import check_unchanged, sha256, with_checksum
from sdd_core.observers.tracking import _Tracking
from sdd_core.runs.run_folder import RunFolder
from sdd_core.runs.store import Store

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def two_files(folder):
    (folder / "a").write_bytes(b"alpha")
    (folder / "b").write_bytes(b"beta")


def test_an_entry_has_its_files_and_their_checksums(tmp_path):
    write_entry(tmp_path / "entry", two_files)
    # Computed by sha256sum.
    alpha = "8ed3f6ad685b959ead7022518e1af76cd816f8e8ec7ccdda1ed4018e8f2223f8"
    assert (tmp_path / "entry" / "SHA256SUMS").read_text().startswith(f"{alpha}  a\n")
    assert sha256(tmp_path / "entry" / "a") == alpha
    assert set(contents(tmp_path)) == {"entry/a", "entry/b", "entry/SHA256SUMS"}
    assert damaged_file(tmp_path / "entry") is None


@pytest.mark.parametrize("error", [RuntimeError("bug"), KeyboardInterrupt()])
def test_an_entry_whose_writing_fails_is_not_there(tmp_path, error):
    def write(folder):
        two_files(folder)
        raise error

    with pytest.raises(type(error)):
        write_entry(tmp_path / "entry", write)
    assert list(tmp_path.iterdir()) == []


def test_new_entries_move_in_and_whatever_else_was_made_is_deleted(tmp_path):
    with new_entries(tmp_path / "a" / "b", ["x", "y"]) as folder:
        assert folder.parent == tmp_path / "a" / "b"
        (folder / "x").write_text("one")
        (folder / "y").mkdir()
        two_files(folder / "y")
        (folder / "scratch").write_text("notes")
    assert set(contents(tmp_path)) == {"a/b/x", "a/b/y/a", "a/b/y/b"}


@pytest.mark.parametrize("error", [RuntimeError("bug"), KeyboardInterrupt(), FULL])
def test_new_entries_leave_nothing_when_the_writing_fails(tmp_path, error):
    def write():
        with new_entries(tmp_path / "mine" / "a" / "b", ["x"]) as folder:
            (folder / "x").write_text("half")
            raise error

    (tmp_path / "mine").mkdir()
    with pytest.raises(SddError if error is FULL else type(error)):
        write()
    assert list(tmp_path.rglob("*")) == [tmp_path / "mine"]


def test_new_entries_replace_nothing_that_appears_meanwhile(tmp_path):
    def write():
        with new_entries(tmp_path, ["x"]) as folder:
            (folder / "x").write_text("mine")
            (tmp_path / "x").write_text("another's")

    with pytest.raises(SddError, match="x already exists; delete it, or choose another --output"):
        write()
    assert contents(tmp_path) == {"x": b"another's"}


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path):
    def write(folder):
        two_files(folder)
        raise FULL

    with pytest.raises(SddError, match=r"cannot write .*entry: No space left on device; free"):
        write_entry(tmp_path / "entry", write)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a", "b", "SHA256SUMS"])
@pytest.mark.parametrize("harm", ["flip", "cut", "remove"])
def test_a_damaged_entry_is_found(tmp_path, name, harm):
    entry = tmp_path / "entry"
    write_entry(entry, two_files)
    file = entry / name
    content = bytearray(file.read_bytes())
    if harm == "flip":
        content[3] ^= 1
    file.write_bytes(content[: len(content) // 2] if harm == "cut" else content)
    if harm == "remove":
        file.unlink()
    assert damaged_file(entry)


def test_a_file_that_nothing_vouches_for_is_found(tmp_path):
    write_entry(tmp_path / "entry", two_files)
    sums = tmp_path / "entry" / "SHA256SUMS"
    sums.write_text(sums.read_text().splitlines(keepends=True)[0])
    assert damaged_file(tmp_path / "entry") == "b"


def test_a_list_of_checksums_is_as_it_was_written_to_the_last_byte(tmp_path):
    """A flipped bit makes a newline into what Python takes for one too."""
    write_entry(tmp_path / "entry", two_files)
    file = tmp_path / "entry" / "SHA256SUMS"
    content = file.read_bytes()
    for position in range(len(content)):
        for bit in range(8):
            harmed = bytearray(content)
            harmed[position] ^= 1 << bit
            file.write_bytes(harmed)
            assert damaged_file(tmp_path / "entry"), (position, bit)


def test_a_line_is_added_where_the_last_whole_one_ends(tmp_path):
    file = tmp_path / "lines"
    append_line(file, "one")
    append_line(file, "two")
    assert file.read_text() == "one\ntwo\n"
    for torn in ("x", "x" * 10_000):
        file.write_text("one\n" + torn)
        append_line(file, "two")
        assert file.read_text() == "one\ntwo\n"
        file.write_text(torn)
        append_line(file, "two")
        assert file.read_text() == "two\n"


def test_every_kill_leaves_an_entry_whole_or_absent(tmp_path):
    """The process dies at each of its calls to the system that make something durable."""
    for nth in range(1, 20):
        entry = tmp_path / str(nth) / "entry"

        def work(entry=entry, nth=nth):
            left = [nth]

            def dying(path, sync=atomic._sync):
                left[0] -= 1
                if left[0] == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                sync(path)

            atomic._sync = dying
            write_entry(entry, two_files)

        ended = in_child(work)
        if entry.exists():
            assert damaged_file(entry) is None
        elif ended == -signal.SIGKILL:
            # What was left behind is in nobody's way.
            write_entry(entry, two_files)
        assert set(contents(entry.parent)) == {"entry/a", "entry/b", "entry/SHA256SUMS"}
        if ended == 0:
            break
    else:
        pytest.fail("the process was killed every time")
    assert nth > 4


def test_a_killed_process_leaves_the_old_file_or_the_new_one(tmp_path):
    """A real process that only writes, killed while it does."""
    file = tmp_path / "file"
    program = """
        import itertools, sys
        from pathlib import Path
        from sdd_core.files.atomic import write_atomic
        for number in itertools.count():
            write_atomic(Path(sys.argv[1]), str(number % 10) * 200_000)
            print(number, flush=True)
    """
    writer = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program), str(file)], stdout=subprocess.PIPE
    )
    assert writer.stdout is not None
    for _ in range(5):
        writer.stdout.readline()
    writer.kill()
    writer.wait()
    writer.stdout.close()
    text = file.read_text()
    assert len(text) == 200_000
    assert len(set(text)) == 1


def test_a_file_is_replaced_at_once(tmp_path, monkeypatch):
    file = tmp_path / "deep" / "file"
    write_atomic(file, "old")
    write_atomic(file, b"new")
    assert contents(tmp_path) == {"deep/file": b"new"}

    def no_space(path):
        raise FULL

    monkeypatch.setattr(atomic, "_sync", no_space)
    with pytest.raises(SddError, match="No space left"):
        write_atomic(file, "newer")
    assert contents(tmp_path) == {"deep/file": b"new"}


def test_what_a_dead_process_left_is_removed(tmp_path):
    file = tmp_path / "file"

    def work():
        atomic._sync = lambda path: os.kill(os.getpid(), signal.SIGKILL)
        write_atomic(file, "unfinished")

    assert in_child(work) == -signal.SIGKILL
    living = tmp_path / f".file.{os.getppid()}"
    living.write_text("of a process that still writes")
    assert len(contents(tmp_path)) == 2
    write_atomic(file, "new")
    assert set(contents(tmp_path)) == {"file", living.name}


def test_new_entries_of_a_dead_process_are_removed_by_the_next(tmp_path):
    def work():
        with new_entries(tmp_path, ["a", "b"]) as partial:
            (partial / "a").write_text("unfinished")
            os.kill(os.getpid(), signal.SIGKILL)

    assert in_child(work) == -signal.SIGKILL
    living = tmp_path / f".a.{os.getppid()}.partial"
    living.mkdir()
    (living / "a").write_text("of a process that still writes")
    assert len(contents(tmp_path)) == 2
    with new_entries(tmp_path, ["a"]) as partial:
        (partial / "a").write_text("new")
    assert set(contents(tmp_path)) == {"a", f"{living.name}/a"}


def test_a_disk_that_takes_no_more_bytes(tmp_path):
    """The system itself refuses, in the middle of a file."""
    file = tmp_path / "file"
    write_atomic(file, "old")

    def work():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        with pytest.raises(SddError, match="cannot write"):
            write_atomic(file, "x" * 5000)
        with pytest.raises(SddError, match="cannot write"):
            write_entry(tmp_path / "entry", bigger)

    def bigger(folder):
        (folder / "big").write_bytes(b"x" * 5000)

    assert in_child(work) == 0
    assert contents(tmp_path) == {"file": b"old"}


def test_a_place_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("a file where a folder is wanted")
    with pytest.raises(SddError, match=r"cannot write .*choose another place with --store"):
        write_atomic(tmp_path / "file" / "inside", "x")
    with pytest.raises(SddError, match="cannot write"):
        write_entry(tmp_path / "file" / "entry", two_files)


def test_a_link_is_the_same_file_and_follows_a_new_one(tmp_path):
    source, target = tmp_path / "source", tmp_path / "run" / "target"
    source.write_text("one")
    link_or_copy(source, target)
    assert target.samefile(source)
    write_atomic(source, "two")
    assert target.read_text() == "one"
    link_or_copy(source, target)
    assert target.samefile(source)


def test_two_processes_may_make_the_same_link_at_once(tmp_path, monkeypatch):
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_text("same")
    link = os.link

    def both(old, new):
        link(old, new)
        link(old, target)  # the other process

    monkeypatch.setattr(os, "link", both)
    link_or_copy(source, target)
    assert target.samefile(source)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source", "target"]


def test_a_copy_where_there_are_no_hard_links(tmp_path, monkeypatch):
    def no_links(*_):
        raise OSError(errno.EPERM, "no hard links here")

    monkeypatch.setattr(os, "link", no_links)
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_text("one")
    link_or_copy(source, target)
    assert target.read_text() == "one"
    assert not target.samefile(source)
    assert set(contents(tmp_path)) == {"source", "target"}


NO_SYNC = [errno.EACCES, errno.EINVAL, errno.ENOTSUP, errno.EISDIR, errno.EBADF]


@pytest.mark.parametrize("call", ["open", "fsync"])
@pytest.mark.parametrize("number", NO_SYNC)
def test_a_system_that_cannot_sync_folders_will_do(tmp_path, monkeypatch, call, number):
    """Windows cannot open them (EACCES), some network disks refuse to sync them."""
    refuse_folders(monkeypatch, call, number)
    write_atomic(tmp_path / "file", "content")
    write_entry(tmp_path / "entry", two_files)
    append_line(tmp_path / "lines", "one")
    assert (tmp_path / "file").read_text() == "content"
    assert damaged_file(tmp_path / "entry") is None
    assert (tmp_path / "lines").read_text() == "one\n"


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EDQUOT])
def test_a_folder_that_the_disk_loses_is_an_error(tmp_path, monkeypatch, number):
    refuse_folders(monkeypatch, "fsync", number)
    with pytest.raises(SddError, match="cannot write"):
        write_atomic(tmp_path / "file", "content")


@pytest.mark.parametrize("number", [*NO_SYNC, errno.EIO])
def test_a_file_that_cannot_be_synced_is_an_error(tmp_path, monkeypatch, number):
    def fsync(descriptor):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(SddError, match="cannot write"):
        write_atomic(tmp_path / "file", "content")


def refuse_folders(monkeypatch, call, number):
    given = getattr(os, call)

    def refusing(what, *arguments, **options):
        if stat.S_ISDIR(os.stat(what).st_mode) if os.path.exists(what) else False:
            raise OSError(number, os.strerror(number))
        return given(what, *arguments, **options)

    monkeypatch.setattr(os, call, refusing)


def test_files_are_synced_as_windows_can(tmp_path, monkeypatch):
    """It syncs what is open for writing alone."""
    given = os.fsync

    def fsync(descriptor):
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            assert os.write(descriptor, b"") == 0  # EBADF where it is open for reading
        given(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    write_atomic(tmp_path / "file", "content")
    write_entry(tmp_path / "entry", two_files)


def test_no_process_is_looked_for_where_that_would_end_it(tmp_path, monkeypatch):
    """On Windows os.kill ends a process, whatever the signal."""
    (tmp_path / f".file.{os.getppid()}").write_text("of another process")
    monkeypatch.setattr(atomic, "os", SimpleNamespace(**{
        **vars(os), "name": "nt", "kill": lambda *_: pytest.fail("it ends a process")}))
    write_atomic(tmp_path / "file", "content")


def test_whoever_waits_for_a_lock_says_so(tmp_path, monkeypatch):
    """Whatever it is for: a level, a run's files, a tracker. The other one may be stopped."""
    said = []
    monkeypatch.setattr(atomic, "warn", said.append)
    run = tmp_path / "run"
    run.mkdir()
    tracked = SimpleNamespace(folder=run, experiment=SimpleNamespace(settings=dict))
    tracker = SimpleNamespace(start=lambda *_: None)
    waits = {
        "making 0123456789ab": lambda: Store(tmp_path).lock("0123456789abcdef"),
        f"writing {run}": RunFolder("run", run, None)._locked,
        "starting its trackers": lambda: nullcontext(_Tracking(tracker)._start(tracked)),
    }
    held = [tmp_path / ".shared/locks/0123456789abcdef.lock", run / ".lock",
            tmp_path / ".trackers.lock"]

    def wait(take):
        with take():
            pass

    for (what, take), file in zip(waits.items(), held, strict=True):
        file.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(file):
            waiting = threading.Thread(target=wait, args=(take,))
            waiting.start()
            wait_until(lambda: said)
        waiting.join()
        assert said == [f"waiting for another process, which is {what}"]
        said.clear()
        wait(take)
        assert said == []


def test_an_option_remembers_the_file_that_it_names(tmp_path):
    file = tmp_path / "a"
    file.write_bytes(b"alpha")
    options = {"file": str(file)}
    noted = with_checksum(options, "sum", file)
    assert noted == {**options, "sum": sha256(file)}
    assert options == {"file": str(file)}  # which stay as they were given
    check_unchanged(file, noted["sum"], "noise.file: a", "noise.sum")
    file.write_bytes(b"beta")
    message = r"^noise.file: a is not the file .* leave out noise.sum to"
    with pytest.raises(SddError, match=message):
        check_unchanged(file, noted["sum"], "noise.file: a", "noise.sum")
    check_unchanged(file, None, "noise.file: a", "noise.sum")
    # What is given stays, also of another file; and what is no file has no checksum.
    assert with_checksum(noted, "sum", file) is noted
    assert with_checksum(options, "sum", tmp_path / "none") is options
    assert with_checksum("a text", "sum", file) == "a text"

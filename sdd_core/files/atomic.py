"""Write files and folders atomically: entirely or not at all, whenever the machine stops."""

from __future__ import annotations

import errno
import glob
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock, Timeout

from sdd_core.errors import SddError
from sdd_core.files.reading import exists
from sdd_core.output.notices import warn


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn a full disk or an unwritable folder into a SddError, one line."""
    try:
        yield
    except OSError as error:
        # safetensors and others put the system's message inside their own
        reason = error.strerror or " ".join(str(error).split())
        raise SddError(f"cannot write {path}: {reason}; free some space, or choose another place "
                       "with --store or --output") from error


@contextmanager
def locked(file: Path, doing: str) -> Iterator[None]:
    """Hold a lock, which the system frees when the process dies. If another process holds it for
    longer than a second, print a notice and wait. Another thread may leave the context. Raises
    SddError where locking is impossible.

    doing: what the holder does, as in "waiting for another process, which is making ...".
    """
    lock = FileLock(file, thread_local=False)
    with disk_errors(file):
        try:
            lock.acquire(timeout=1)
        except Timeout:
            warn(f"waiting for another process, which is {doing}")
            # With a limit, because without one it raises if this thread took a lock that the
            # writer's thread will release.
            while not lock.is_locked:
                with suppress(Timeout):
                    lock.acquire(timeout=60)
    try:
        yield
    finally:
        lock.release()


def write_atomic(path: Path, content: bytes | str, *, locked: bool = False) -> None:
    """Write a file atomically: readers see the old one or the new one. Raises SddError.

    locked: the caller holds a lock, so that nobody else writes the file. Then the remains of dead
        processes do no harm and are not searched for, which saves time in large folders.
    """
    temporary = path.with_name(f".{path.name}.partial") if locked else _temporary(path)
    with disk_errors(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if not locked:
                _remove_orphans(path)
            temporary.write_bytes(content.encode() if isinstance(content, str) else content)
            _sync(temporary)
            temporary.replace(path)
            _sync(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Make a folder atomically: yield an empty folder to fill, which is renamed at the end.

    The caller holds a lock for the folder: what an earlier attempt left behind is deleted.
    Raises SddError.
    """
    partial = folder.with_name(f"{folder.name}.partial")
    with disk_errors(folder):
        try:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            yield partial
            for file in (*sorted(partial.iterdir()), partial):
                _sync(file)
            partial.rename(folder)
            _sync(folder.parent)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def new_entries(folder: Path, names: Sequence[str]) -> Iterator[Path]:
    """Add files and folders to a folder when all are complete: yield an empty folder to fill, from
    which `names` move into `folder`; whatever else is in it is deleted.

    Raises SddError if one of them exists or cannot be written. Then nothing is left behind.
    """
    absent = [one for one in (folder, *folder.parents) if not exists(one)]
    partial = folder / f".{names[0]}.{os.getpid()}.partial"
    with disk_errors(folder / names[0]):
        for orphan in _orphans(folder / names[0], ".partial"):
            shutil.rmtree(orphan, ignore_errors=True)
        try:
            partial.mkdir(parents=True)
            yield partial
            for file in (*sorted(partial.rglob("*")), partial):
                _sync(file)
            for name in names:
                refuse_existing(folder / name)
                (partial / name).rename(folder / name)
            _sync(folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
            for one in absent:
                with suppress(OSError):  # it has the new entries
                    one.rmdir()


def refuse_existing(path: Path) -> None:
    """Raise SddError if there is anything at a path, including a broken link."""
    if path.is_symlink() or exists(path):
        raise SddError(f"{path} already exists; delete it, or choose another --output")


def move(path: Path, target: Path) -> None:
    """Move a file or folder to a place on the same disk, durably. Raises SddError."""
    with disk_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
        _sync(path.parent)
        _sync(target.parent)


def append_line(path: Path, line: str) -> None:
    """Append a line to a file. The caller holds a lock. Raises SddError.

    A process that dies meanwhile leaves a partial line without a line end: readers ignore it, and
    the next line overwrites it.
    """
    with disk_errors(path):
        new = not exists(path)
        with path.open("ab" if new else "r+b") as stream:
            stream.truncate(stream.seek(_end_of_lines(stream)))
            stream.write(f"{line}\n".encode())
            stream.flush()
            os.fsync(stream.fileno())
        if new:
            _sync(path.parent)


def _end_of_lines(stream: BinaryIO) -> int:
    """Return the position after the last complete line, in bytes."""
    end = stream.seek(0, os.SEEK_END)
    while end > 0:
        start = max(0, end - 4096)
        stream.seek(start)
        found = stream.read(end - start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


def link_or_copy(source: Path, target: Path) -> None:
    """Hard-link `target` to `source`, or copy it where the file system has no hard links.

    Raises SddError.
    """
    temporary = _temporary(target)
    with disk_errors(target):
        if target.exists() and target.samefile(source):
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_orphans(target)
        temporary.unlink(missing_ok=True)
        try:
            os.link(source, temporary)
        except OSError:
            shutil.copyfile(source, temporary)
            _sync(temporary)
        temporary.replace(target)
        # Still there if another process has linked the target meanwhile: renaming one of two links
        # to the same file does nothing.
        temporary.unlink(missing_ok=True)


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}")


def _remove_orphans(path: Path) -> None:
    """Remove the partial files of processes that died while they wrote the file."""
    for file in _orphans(path):
        file.unlink(missing_ok=True)


def _orphans(path: Path, ending: str = "") -> Iterator[Path]:
    """Yield what processes that died left beside a path: `.NAME.PID`, followed by `ending`."""
    if os.name == "nt":
        return  # on Windows, os.kill would end the process instead of checking it
    for one in path.parent.glob(f".{glob.escape(path.name)}.*{ending}"):
        try:
            os.kill(int(one.name.removesuffix(ending).rpartition(".")[2]), 0)
        except ProcessLookupError:
            yield one
        except (PermissionError, ValueError, OverflowError):  # another user's process, or not ours
            continue


def _sync(path: Path) -> None:
    """Flush a file or folder to disk. Folders only where the system can: Windows cannot open them,
    and some network disks refuse to sync them."""
    folder = path.is_dir()
    try:
        # Windows syncs only what is open for writing, which a folder never is.
        descriptor = os.open(path, os.O_RDONLY if folder else os.O_RDWR)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if not folder or error.errno not in _NO_SYNC_OF_FOLDERS:
            raise


_NO_SYNC_OF_FOLDERS = {errno.EACCES, errno.EPERM, errno.EINVAL, errno.EISDIR, errno.EBADF,
                       errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}
"""Error codes of systems that cannot sync folders; a full or broken disk has other codes."""

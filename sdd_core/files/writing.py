"""Files that exist entirely or not at all, whenever the machine stops."""

from __future__ import annotations

import errno
import glob
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from filelock import FileLock, Timeout

from sdd_core.errors import SddError
from sdd_core.files.reading import LARGEST_SETTINGS, exists, is_folder, names_in, read_bytes, sha256
from sdd_core.output.notices import warn

SUMS = "SHA256SUMS"

DENSE_WEIGHTS = Path("levels", "00", "weights.safetensors")
"""Where a run's folder has the dense network."""


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turns a full disk or an unwritable folder into one clear line."""
    try:
        yield
    except OSError as error:
        # safetensors and others bury the system's words in their own
        reason = error.strerror or " ".join(str(error).split())
        raise SddError(f"cannot write {path}: {reason}; free some space, or choose another place "
                       "with --store or --output") from error


@contextmanager
def locked(file: Path, doing: str) -> Iterator[None]:
    """Hold a lock, which the system frees when the process dies. Whoever has to wait for another
    process, busy, stuck or stopped, says so. Raises SddError: no lock can be had there.

    doing: what is done meanwhile, as in "waiting for another process, which is making ...".
    """
    lock = FileLock(file)
    with disk_errors(file):
        try:
            lock.acquire(timeout=1)
        except Timeout:
            warn(f"waiting for another process, which is {doing}")
            lock.acquire()
    try:
        yield
    finally:
        lock.release()


def write_atomic(path: Path, content: bytes | str, *, locked: bool = False) -> None:
    """Write a file at once: readers see the old one or the new one. Raises SddError.

    locked: the caller holds a lock, so that nobody else writes the file meanwhile. What a dead
        process left of it is then in the way of nothing and need not be looked for, which takes
        the longer the more files a folder has.
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


def write_entry(folder: Path, write: Callable[[Path], None]) -> None:
    """Make a folder at once, with the checksum of every file that `write` puts into it.

    The caller holds the entry's lock: what an earlier attempt left behind is thrown away.
    Raises SddError.
    """
    partial = folder.with_name(f"{folder.name}.partial")
    with disk_errors(folder):
        try:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            write(partial)
            files = sorted(partial.iterdir())
            (partial / SUMS).write_text(sums_text({file.name: sha256(file) for file in files}))
            for file in (*files, partial / SUMS, partial):
                _sync(file)
            partial.rename(folder)
            _sync(folder.parent)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def append_line(path: Path, line: str) -> None:
    """Add a line to a file. The caller holds a lock. Raises SddError.

    A process that dies meanwhile leaves a part of the line, without its end: readers take it for
    nothing, and the next line is written in its place.
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
    """The position after the last line that has an end."""
    end = stream.seek(0, os.SEEK_END)
    while end > 0:
        start = max(0, end - 4096)
        stream.seek(start)
        found = stream.read(end - start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


def damaged_file(folder: Path) -> str | None:
    """The name of the first file in an entry that is missing or not what was written, or None.

    Raises SddError where a file cannot be read, which says nothing about what is in it.
    """
    sums = checksums(folder)
    for name, expected in (sums or {}).items():
        try:
            if sha256(folder / name) != expected:
                return name
        except FileNotFoundError:
            return name
    # A list that lost its end would let files through that nothing vouches for.
    strange = set(names_in(folder)) - {*(sums or {}), SUMS}
    return min(strange, default=None) if sums else SUMS


def checksums(folder: Path) -> dict[str, str] | None:
    """The SHA-256 of every file in an entry, by name; None where the list is missing or damaged.

    Raises SddError where it cannot be read.
    """
    try:
        text = read_bytes(folder / SUMS, LARGEST_SETTINGS).decode()
    except (FileNotFoundError, UnicodeDecodeError):
        return None
    found = {name: sum_ for sum_, name in re.findall(r"([0-9a-f]{64})  (\w[\w.-]*)\n", text)}
    # Byte by byte as it is written: nothing between the lines, each name once.
    return found if found and text == sums_text(found) else None


def sums_text(sums: Mapping[str, str]) -> str:
    """The list of checksums of an entry, of the SHA-256 of each file by its name."""
    return "".join(f"{sum_}  {name}\n" for name, sum_ in sums.items())


def level_folder(store: Path, key: str) -> Path:
    """Where a level is in the store in a folder, or would be."""
    return store / ".shared" / "levels" / key


def level_is_whole(store: Path, key: str) -> bool:
    """Whether a level is in the store as it was written. Changes nothing, not even a damaged
    one, and makes no store where there is none. Raises SddError where it cannot be read."""
    folder = level_folder(store, key)
    return is_folder(folder) and damaged_file(folder) is None


def set_aside(path: Path, store: Path, *, stays: bool = False) -> Path:
    """Move something damaged out of the way, into `<store>/.shared/damaged`, where nothing is
    ever deleted; returns where it is now. Raises SddError.

    stays: it is to be written anew, all at once: what is there until then is a link to it.
    """
    below = path.relative_to(store)
    place = damaged_folder(store).joinpath(*(part for part in below.parts if part != ".shared"))
    found, number = place, 1
    while exists(found):
        number += 1
        found = place.with_name(f"{place.name}.{number}")
    if stays:
        link_or_copy(path, found)
    else:
        with disk_errors(found):
            found.parent.mkdir(parents=True, exist_ok=True)
            path.rename(found)
            _sync(path.parent)
            _sync(found.parent)
    return found


def damaged_folder(store: Path) -> Path:
    """Where a store has what was found damaged and set aside."""
    return store / ".shared" / "damaged"


def damaged_entries(store: Path) -> list[Path]:
    """What was found damaged in a store and set aside: levels, rewind points, files of runs."""
    folder = damaged_folder(store)
    return [folder / part / name for part in names_in(folder) for name in names_in(folder / part)]


def with_checksum(options: Any, option: str, file: Path) -> Any:
    """Options as they were given, and under `option`, unless that is given too, the SHA-256 of the
    file that another of them names.

    So another file in its place makes another experiment. To be called by a model validator of the
    mode "before".
    """
    if isinstance(options, Mapping) and not options.get(option) and os.path.isfile(file):
        return {**options, option: sha256(file)}
    return options


def check_unchanged(file: Path, checksum: str | None, what: str, option: str) -> None:
    """Raises SddError, one line, when a file has another SHA-256 than `checksum`.

    what: the file, as a user knows it. option: where the checksum stands, `noise.checksum`. Raises
    FileNotFoundError when there is none, and SddError when it cannot be read.
    """
    if checksum not in {None, sha256(file)}:
        raise SddError(f"{what} is not the one that the experiment began with (its checksum "
                       f"differs); bring that back, or leave out {option} for an experiment of its "
                       "own")


def link_or_copy(source: Path, target: Path) -> None:
    """Make `target` the same file as `source`; a copy where the file system has no hard links."""
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


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}")


def _remove_orphans(path: Path) -> None:
    """Remove what processes left of a file that died while they wrote it."""
    if os.name == "nt":
        return  # there os.kill ends the process that it is to look for
    for file in path.parent.glob(f".{glob.escape(path.name)}.*"):
        try:
            os.kill(int(file.suffix[1:]), 0)
        except ProcessLookupError:
            file.unlink(missing_ok=True)
        except (PermissionError, ValueError):  # of another user, or none of ours
            continue


def _sync(path: Path) -> None:
    """Have the disk keep what was written. Folders as far as the system can: Windows opens none,
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
"""What systems say that cannot sync folders; a full or broken disk says something else."""

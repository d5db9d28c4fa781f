"""Files that exist entirely or not at all, whenever the machine stops."""

from __future__ import annotations

import glob
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sdd_core.errors import SddError

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


def write_atomic(path: Path, content: bytes | str) -> None:
    """Write a file at once: readers see the old one or the new one. Raises SddError."""
    temporary = _temporary(path)
    with disk_errors(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
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
            sums = "".join(f"{sha256(file)}  {file.name}\n" for file in files)
            (partial / SUMS).write_text(sums)
            for file in (*files, partial / SUMS, partial):
                _sync(file)
            partial.rename(folder)
            _sync(folder.parent)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def damaged_file(folder: Path) -> str | None:
    """The name of the first file in an entry that is not what was written, or None."""
    try:
        lines = (folder / SUMS).read_text().splitlines()
        for line in lines:
            expected, _, name = line.partition("  ")
            if sha256(folder / name) != expected:
                return name
        # A list that lost its end would let files through that nothing vouches for.
        listed = {line.partition("  ")[2] for line in lines}
        strange = {file.name for file in folder.iterdir()} - listed - {SUMS}
        if strange:
            return min(strange)
    except (OSError, UnicodeDecodeError, ValueError) as error:
        return getattr(error, "filename", None) or SUMS
    return None if lines else SUMS


def level_folder(store: Path, key: str) -> Path:
    """Where a level is in the store in a folder, or would be."""
    return store / ".shared" / "levels" / key


def level_is_whole(store: Path, key: str) -> bool:
    """Whether a level is in the store as it was written. Changes nothing, not even a damaged
    one, and makes no store where there is none."""
    folder = level_folder(store, key)
    return folder.is_dir() and damaged_file(folder) is None


def sha256(file: Path) -> str:
    """Hexadecimal SHA-256 of a file's content."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def with_checksum(options: Any, option: str, file: Path) -> Any:
    """Options as they were given, and under `option`, unless that is given too, the SHA-256 of the
    file that another of them names.

    So another file in its place makes another experiment. To be called by a model validator of the
    mode "before".
    """
    if isinstance(options, Mapping) and not options.get(option) and file.is_file():
        return {**options, option: sha256(file)}
    return options


def check_unchanged(file: Path, checksum: str | None, what: str, option: str) -> None:
    """Raises SddError, one line, when a file has another SHA-256 than `checksum`.

    what: the file, as a user knows it. option: where the checksum stands, `noise.checksum`. Raises
    OSError when the file cannot be read.
    """
    if checksum not in {None, sha256(file)}:
        raise SddError(f"{what} is not the one that the experiment began with (its checksum "
                       f"differs); bring that back, or leave out {option} for an experiment of its "
                       "own")


def link_or_copy(source: Path, target: Path) -> None:
    """Make `target` the same file as `source`; a copy where the file system has no hard links."""
    if target.exists() and target.samefile(source):
        return
    temporary = _temporary(target)
    with disk_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_orphans(target)
        temporary.unlink(missing_ok=True)
        try:
            os.link(source, temporary)
        except OSError:
            shutil.copyfile(source, temporary)
        temporary.replace(target)


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}")


def _remove_orphans(path: Path) -> None:
    """Remove what processes left of a file that died while they wrote it."""
    for file in path.parent.glob(f".{glob.escape(path.name)}.*"):
        try:
            os.kill(int(file.suffix[1:]), 0)
        except ProcessLookupError:
            file.unlink(missing_ok=True)
        except (PermissionError, ValueError):  # of another user, or none of ours
            continue


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""Read files that may be broken, in the way, or written by a stranger.

Three things are kept apart: a file that is missing (FileNotFoundError), a file that is not what
was written (`Damaged`), and a file that cannot be read now, of which nothing is known (SddError).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Any

from sdd_core.errors import SddError

LARGEST_SETTINGS = 2**24
"""Bytes of an experiment file or a record; more is no such file."""

LARGEST_TEXT = 2**29
"""Bytes of a file with a line for each level or epoch."""

LARGEST_TENSORS = 2**36
"""Bytes of a file of weights."""

class Damaged(SddError):
    """A file is missing or not what was written, so that it may be made again."""


@contextmanager
def read_errors(path: Path) -> Iterator[None]:
    """Turn a file that is there and cannot be read into one line that names it. That it is missing
    stays a FileNotFoundError."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        reason = error.strerror or " ".join(str(error).split())
        raise SddError(f"cannot read {path}: {reason}; it was left as it is") from error


@contextmanager
def opened(path: Path, most: int) -> Iterator[BufferedReader]:
    """A regular file of at most `most` bytes, open for reading.

    Raises FileNotFoundError, and SddError for anything else: a pipe or a device, which could make
    the reader wait for ever, a file that is too large, a disk that fails.
    """
    with read_errors(path):
        # Not even opened where it is something else, for that may already have an effect.
        _check(path, os.stat(path), most)
        flags = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        descriptor = os.open(path, os.O_RDONLY | flags)
        try:
            _check(path, os.fstat(descriptor), most)
            stream = os.fdopen(descriptor, "rb")
        except BaseException:
            os.close(descriptor)
            raise
        with stream:
            yield stream


def _check(path: Path, found: os.stat_result, most: int) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise SddError(f"cannot read {path}: it is not a regular file; it was left as it is")
    if found.st_size > most:
        raise SddError(f"cannot read {path}: it has {found.st_size:,} bytes, expected at most "
                       f"{most:,}; it was left as it is")


def read_bytes(path: Path, most: int = LARGEST_TEXT) -> bytes:
    """Return a file's content. Raises FileNotFoundError or SddError, as `opened` does."""
    with opened(path, most) as stream:
        return stream.read()


def sha256(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file's content. Raises as `opened` does."""
    with opened(path, LARGEST_TENSORS) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


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


def exists(path: Path) -> bool:
    """Whether there is anything at a path. Raises SddError where that cannot be known."""
    return _found(path) is not None


def is_folder(path: Path) -> bool:
    """Whether there is a folder; False where there is nothing. Raises SddError for something else
    in its place, and where it cannot be known."""
    found = _found(path)
    if found is None:
        return False
    if not stat.S_ISDIR(found.st_mode):
        raise SddError(f"cannot read {path}: it is not a folder; it was left as it is")
    return True


def _found(path: Path) -> os.stat_result | None:
    with read_errors(path):
        try:
            return os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            return None


def names_in(folder: Path) -> list[str]:
    """Return the names in a folder, sorted; none where it is missing. Raises SddError."""
    try:
        with read_errors(folder):
            return sorted(os.listdir(folder))
    except FileNotFoundError:
        return []


def parse_json(text: bytes) -> Any:
    """Return the value of a JSON text. Raises Damaged for anything that is none, also where it is
    nested deeper or has longer numbers than Python reads."""
    try:
        return _DECODER.decode(text.decode())
    except (ValueError, RecursionError) as error:
        raise Damaged(f"it is no JSON: {' '.join(str(error).split())}") from None


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no number")


_DECODER = json.JSONDecoder(parse_constant=_no_number)


def seal(content: Mapping[str, Any], of: str, indent: int | None = None) -> str:
    """Return a JSON object as a text whose last member is the checksum of what stands before it.

    of: what the object is about, a run or a level, so that it cannot stand in for another's.
    """
    text = json.dumps(content, indent=indent, allow_nan=False)[:-1].rstrip()
    return f'{text}, "checksum": "{_checksum(text.encode(), of)}"}}'


def unseal(text: bytes, of: str) -> tuple[bytes, bool]:
    """Return the text of a JSON object without its checksum, and whether it has one: what is from
    before there were checksums has none. Raises Damaged where the checksum is another."""
    text = text.rstrip()
    found = _SEAL.fullmatch(text, max(0, len(text) - _SEAL_LENGTH))
    if not found:
        return text, False
    before = text[:-_SEAL_LENGTH]
    if _checksum(before, of) != found[1].decode():
        raise Damaged("its checksum is not that of its content")
    return before + b"}", True


def read_sealed(path: Path, of: str, most: int) -> tuple[dict[str, Any], bool]:
    """Return the JSON object in a file without its checksum, and whether it has one. Raises
    FileNotFoundError, Damaged and SddError."""
    text, sealed = unseal(read_bytes(path, most), of)
    found = parse_json(text)
    if not isinstance(found, dict):
        raise Damaged("it is no JSON object")
    return found, sealed


_SEAL = re.compile(rb', "checksum": "([0-9a-f]{16})"\}')
_SEAL_LENGTH = len(', "checksum": ""}') + 16


def _checksum(text: bytes, of: str) -> str:
    return hashlib.sha256(of.encode() + b"\n" + text).hexdigest()[:16]

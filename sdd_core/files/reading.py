"""Read files that may be damaged, unreadable, or written by somebody else.

There are three kinds of failure: a file is missing (FileNotFoundError), a file is not what was
written (`Damaged`), or a file cannot be read now and may be intact (SddError).
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
"""Largest accepted experiment file or record, in bytes."""

LARGEST_TEXT = 2**29
"""Largest accepted file with a line for each level or epoch, in bytes."""

LARGEST_TENSORS = 2**36
"""Largest accepted file of weights, in bytes."""


class Damaged(SddError):
    """A file that is missing or not what was written, so that it may be made again."""


@contextmanager
def read_errors(path: Path) -> Iterator[None]:
    """Turn the error for an unreadable file into a SddError, one line with its path. A missing file
    still raises FileNotFoundError."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        reason = error.strerror or " ".join(str(error).split())
        raise SddError(f"cannot read {path}: {reason}; it was left as it is") from error


@contextmanager
def opened(path: Path, most: int) -> Iterator[BufferedReader]:
    """Open a regular file of at most `most` bytes for reading.

    Raises FileNotFoundError for a missing file, and SddError for a pipe or a device (reading could
    block for ever), a file that is too large, and a disk that fails.
    """
    with read_errors(path):
        # Checked before opening, because opening a device may already have an effect.
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
    """Return options with the SHA-256 of a file added as `option`, unless that is set already.

    Thus another file at the same path is another experiment. Call it in a model validator of mode
    "before".
    """
    if isinstance(options, Mapping) and not options.get(option) and os.path.isfile(file):
        return {**options, option: sha256(file)}
    return options


def check_unchanged(file: Path, checksum: str | None, what: str, option: str) -> None:
    """Check that a file has the SHA-256 `checksum`; None accepts any file.

    what: name of the file for users. option: option with the checksum, such as `noise.checksum`.
    Raises SddError when the checksum differs or the file cannot be read, and FileNotFoundError when
    it is missing.
    """
    if checksum not in {None, sha256(file)}:
        raise SddError(f"{what} is not the file that the experiment began with (its checksum "
                       f"differs); restore that file, or leave out {option} to start a new "
                       "experiment")


def exists(path: Path) -> bool:
    """Return whether anything exists at a path. Raises SddError where that cannot be found out."""
    return _found(path) is not None


def is_folder(path: Path) -> bool:
    """Return whether there is a folder at a path; False if there is nothing. Raises SddError if
    there is something else, or it cannot be found out."""
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
    """Return the sorted names in a folder; none if it is missing. Raises SddError."""
    try:
        with read_errors(folder):
            return sorted(os.listdir(folder))
    except FileNotFoundError:
        return []


def parse_json(text: bytes) -> Any:
    """Return the value of a JSON text. Raises Damaged if it is not JSON, or is nested deeper or has
    longer numbers than Python can read."""
    try:
        return _DECODER.decode(text.decode())
    except (ValueError, RecursionError) as error:
        raise Damaged(f"it is not JSON: {' '.join(str(error).split())}") from None


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is not a number")


_DECODER = json.JSONDecoder(parse_constant=_no_number)


def seal(content: Mapping[str, Any], of: str, indent: int | None = None) -> str:
    """Return a JSON object as text, whose last member is the checksum of the text before it.

    of: name of the run or level, so that the text is not valid for another one.
    """
    text = json.dumps(content, indent=indent, allow_nan=False)[:-1].rstrip()
    return f'{text}, "checksum": "{_checksum(text.encode(), of)}"}}'


def unseal(text: bytes, of: str) -> tuple[bytes, bool]:
    """Return the text of a JSON object without its checksum, and whether it has one: files from
    before the introduction of checksums have none. Raises Damaged if the checksum is wrong."""
    text = text.rstrip()
    found = _SEAL.fullmatch(text, max(0, len(text) - _SEAL_LENGTH))
    if not found:
        return text, False
    before = text[:-_SEAL_LENGTH]
    if _checksum(before, of) != found[1].decode():
        raise Damaged("its checksum does not match its content")
    return before + b"}", True


def read_sealed(path: Path, of: str, most: int) -> tuple[dict[str, Any], bool]:
    """Return the JSON object in a file without its checksum, and whether it has one. Raises
    FileNotFoundError if it is missing, Damaged, and SddError if it cannot be read."""
    text, sealed = unseal(read_bytes(path, most), of)
    found = parse_json(text)
    if not isinstance(found, dict):
        raise Damaged("it is not a JSON object")
    return found, sealed


_SEAL = re.compile(rb', "checksum": "([0-9a-f]{16})"\}')
_SEAL_LENGTH = len(', "checksum": ""}') + 16


def _checksum(text: bytes, of: str) -> str:
    return hashlib.sha256(of.encode() + b"\n" + text).hexdigest()[:16]

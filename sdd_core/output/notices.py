"""Print notices: lines on standard error whose failure stops nothing."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import Any, TextIO

from sdd_core.output.text import one_line


def say(text: object, stream: TextIO | None = None) -> None:
    """Print one line on a stream. Default: standard error."""
    target = lenient(sys.stderr if stream is None else stream)
    target.write(f"{one_line(text)}\n")
    target.flush()


def warn(text: object) -> None:
    """Print a warning, one line, on standard error; if that is full or closed, drop it."""
    say(f"sdd: warning: {text}")


def lenient(stream: TextIO | None) -> Any:
    """Return the stream wrapped so that writing never fails: with a full disk, a closed terminal or
    no stream (None, after `2>&-`) the text is lost."""
    return stream if isinstance(stream, _Lenient) else _Lenient(stream)


class _Lenient:
    """A stream that passes everything on and suppresses errors."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with suppress(OSError, ValueError):  # ValueError: it is closed
            if self._stream is not None:
                self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            if self._stream is not None:
                self._stream.flush()

    def isatty(self) -> bool:
        with suppress(OSError, ValueError):
            return self._stream is not None and self._stream.isatty()
        return False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

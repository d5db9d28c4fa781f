"""The state of this package's source files."""

from __future__ import annotations

import functools
import zlib
from pathlib import Path


@functools.cache
def source_digest() -> int:
    """Of this package's source files.

    numba looks for changes only in the file of the function whose code it kept, not in those of
    the functions that it calls. With this number in the name of an argument's type it compiles
    anew after any change; so a function that uses another file's takes `Lanes`, or a
    record with them.
    """
    sources = sorted(Path(__file__).parent.rglob("*.py"))
    return zlib.crc32(b"".join(source.read_bytes() for source in sources))

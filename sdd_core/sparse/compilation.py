"""How the kernels are compiled, and when the machine code that was kept is out of date."""

from __future__ import annotations

import functools
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba


def compiled(function: Callable[..., Any]) -> Any:
    """Compile without holding the interpreter's lock, and keep the machine code for later runs."""
    try:
        return numba.njit(function, nogil=True, cache=True, error_model="numpy")
    except RuntimeError:  # neither the package's folder nor the user's cache can be written
        return numba.njit(function, nogil=True, error_model="numpy")


@functools.cache
def source_digest() -> int:
    """Of this package's source files.

    numba looks for changes only in the file of the function whose code it kept, not in those of
    the functions that it calls. With this number in the name of an argument's type it compiles
    anew after any change; so a function that uses another file's takes a `Tile`.
    """
    sources = sorted(Path(__file__).parent.glob("*.py"))
    return zlib.crc32(b"".join(source.read_bytes() for source in sources))

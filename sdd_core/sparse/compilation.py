"""How the kernels are compiled, and when the machine code that was kept is out of date."""

from __future__ import annotations

import functools
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numba
from numba.core.caching import FunctionCache, NullCache

from sdd_core.output.notices import say

_SAID: list[object] = []


def compiled(function: Callable[..., Any]) -> Any:
    """Compile without holding the interpreter's lock, and keep the machine code for later runs
    where a file can be written."""
    made: Any = numba.njit(function, nogil=True, error_model="numpy")
    try:
        made._cache = _Kept(made.py_func)
    except RuntimeError:  # neither the package's folder nor the user's cache can be written
        made._cache = _InMemory()
    return made


class _Kept(FunctionCache):
    """Keeps a function's machine code in files. Where that fails, a full disk or a damaged file, it
    is in memory alone."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """See numba. None, for the function to be compiled, where the files cannot be read."""
        try:
            return super().load_overload(sig, target_context)
        except Exception as error:  # of pickle, which raises whatever the bytes ask for
            with suppress(OSError):
                self.flush()
            _say_in_memory(error)
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """See numba."""
        try:
            super().save_overload(sig, data)
        except Exception as error:
            _say_in_memory(error)


class _InMemory(NullCache):
    """Keeps nothing, and says so once something is compiled."""

    def save_overload(self, sig: Any, cres: Any) -> None:
        """See numba."""
        _say_in_memory("no folder for it can be written")


def _say_in_memory(reason: object) -> None:
    """Say once in a process that machine code is not kept."""
    if not _SAID:
        _SAID.append(reason)
        say(f"sdd: the sparse kernels' machine code cannot be kept ({reason}), so each process "
            "compiles them anew, for about a minute; set NUMBA_CACHE_DIR to a folder that can be "
            "written")


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

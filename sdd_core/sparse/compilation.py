"""How the kernels are compiled, and when the machine code that was kept is out of date."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numba
from numba.core.caching import FunctionCache, NullCache
from numba.core.registry import CPUDispatcher

from sdd_core.output.notices import say

_SAID: list[object] = []
_FUNCTIONS: list[Any] = []


def compiled(function: Callable[..., Any], **more: bool) -> Any:
    """Compile a function that Python calls: without holding the interpreter's lock. Keep the
    machine code for later runs where a file can be written. more: further options of numba."""
    # Nothing calls kernels from C, and the wrapper for that takes long to compile.
    options: Any = {"nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True, **more}
    made: Any = numba.njit(**options)(function)
    try:
        made._cache = _Kept(made.py_func)
    except RuntimeError:  # neither the package's folder nor the user's cache can be written
        made._cache = _InMemory()
    _FUNCTIONS.append(made)
    return made


def inner(function: Callable[..., Any]) -> Any:
    """Do the same with a function that other compiled ones call. Called from Python, it raises
    TypeError."""
    # The wrapper for calls from Python takes almost as long to compile as the function.
    made = compiled(function, no_cpython_wrapper=True)
    made.__class__ = _Inner
    return made


class _Inner(CPUDispatcher):
    """A compiled function without the wrapper, whose call from Python would end the process."""

    def __call__(self, *args: object, **kwargs: object) -> None:
        raise TypeError(f"{self.py_func.__name__} is for other compiled functions only")


def kept_files() -> list[str]:
    """Return the index files of the machine code that this process has used; empty where nothing
    is kept."""
    used = [one._cache for one in _FUNCTIONS if one.signatures and isinstance(one._cache, _Kept)]
    return [cache._cache_file._index_path for cache in used]


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
            "compiles them anew, which takes ten to twenty seconds; set NUMBA_CACHE_DIR to a "
            "folder that can be written")

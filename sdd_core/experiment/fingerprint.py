"""Fingerprints of Python values by their content, for keys."""

from __future__ import annotations

import dis
import hashlib
import sys
import types
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from sdd_core.errors import SddError
from sdd_core.experiment.import_path import module_hash

_PLAIN = (type(None), bool, int, float, complex, str, bytes, type(...), range, slice)
_OF_NO_EFFECT = {"__module__", "__dict__", "__weakref__", "__doc__", "__firstlineno__",
                 "__static_attributes__", "__annotations__", "__annotate__", "_abc_impl",
                 "__abstractmethods__"}  # fmt: skip


def fingerprint(value: Any, apart_from: Iterable[Any] = ()) -> str:
    """Return 16 hexadecimal digits that differ if two values differ in anything that matters.

    Tensors are compared by their numbers, on any device; objects by class and attributes; classes
    and functions of a module by the module's source; those defined in a notebook or a script by
    their code and what it refers to.

    apart_from: objects that the value must not refer to, because it should be a copy.

    Raises SddError if a part has no content to compare, such as an open file, or if the value
    refers to one of those objects.
    """
    walk = _Walk(apart_from)
    walk.visit(value)
    return walk.found.hexdigest()[:16]


class _Walk:
    def __init__(self, apart_from: Iterable[Any]) -> None:
        self._apart_from = {id(part): part for part in apart_from}
        self.found = hashlib.sha256()
        # The visited objects by id, so that cycles end and shared parts count as shared. They are
        # kept alive, because Python reuses the id of an object that has been freed.
        self._met: dict[int, tuple[int, Any]] = {}

    def visit(self, value: Any) -> None:
        """Add a value to the hash."""
        if type(value) in _PLAIN:
            self._say(type(value).__name__, repr(value))
        elif type(value) in {tuple, frozenset}:  # by content: Python may share equal ones
            self._all(type(value).__name__, _ordered(value))
        elif id(value) in self._apart_from:
            raise SddError(
                f"a hook or a replaced method refers to the {type(value).__name__} that you "
                "passed, but only a copy of it is trained; take the layer from the hook's "
                "arguments, or pass a function that makes the network"
            )
        elif id(value) in self._met:
            self._say("again", self._met[id(value)][0])
        else:
            self._met[id(value)] = (len(self._met), value)
            self._content(value)

    def _content(self, value: Any) -> None:
        """Add the kind of an object and its content."""
        match value:
            case Tensor():
                self._tensor(value)
            case np.ndarray() if value.dtype != object:
                self._say("ndarray", value.dtype, value.shape)
                self.found.update(np.ascontiguousarray(value).data)
            case dict() | list() | set() if type(value) in {dict, list, set}:
                parts = value.items() if isinstance(value, dict) else _ordered(value)
                self._all(type(value).__name__, parts)
            case types.ModuleType():
                self._say("module", value.__name__)
            case type():
                self._class(value)
            case types.FunctionType():
                self._function(value)
            case types.CodeType():
                self._all("code", (value.co_code, value.co_names, value.co_varnames,
                                   value.co_freevars, value.co_consts))
            case types.MethodType():
                self._all("method", (value.__func__, value.__self__))
            case staticmethod() | classmethod():
                self._all(type(value).__name__, (value.__func__,))
            case property():
                self._all("property", (value.fget, value.fset, value.fdel))
            case types.CellType():
                self._cell(value)
            case _:
                self._object(value)

    def _tensor(self, value: Tensor) -> None:
        self._say(type(value).__name__, value.dtype, list(value.shape), value.requires_grad)
        plain = value.detach().cpu().contiguous().reshape(-1)
        self.found.update(plain.view(torch.uint8).numpy().data)

    def _cell(self, value: types.CellType) -> None:
        try:
            self._all("cell", (value.cell_contents,))
        except ValueError:  # nothing in it yet
            self._say("empty cell")

    def _say(self, *words: Any) -> None:
        self.found.update(("\0".join(map(str, words)) + "\1").encode(errors="surrogatepass"))

    def _all(self, kind: str, parts: Any) -> None:
        parts = list(parts)
        self._say(kind, len(parts))
        for part in parts:
            self.visit(part)

    def _class(self, value: type) -> None:
        if value.__module__.partition(".")[0] == "sdd_core":
            # Of sdd's own values, such as a Dataset, the content counts: their source changes with
            # every version, and moves.
            self._say("class of sdd_core", value.__qualname__)
            return
        self._say("class", value.__module__, value.__qualname__)
        if source := _source(value):
            self._say(source)
            return
        if value.__module__ == "builtins":
            return
        self._all("bases", value.__bases__)
        self._all("class body", sorted(
            ((k, v) for k, v in vars(value).items() if k not in _OF_NO_EFFECT),
            key=lambda item: item[0],
        ))

    def _function(self, value: types.FunctionType) -> None:
        self._say("function", value.__module__, value.__qualname__)
        self._all("given", (value.__defaults__, value.__kwdefaults__, value.__closure__))
        if source := _source(value):
            # The code tells several lambdas of one module apart.
            self._say(source, value.__code__.co_code.hex())
            return
        self.visit(value.__code__)
        known = value.__globals__
        self._all("globals", ((n, known[n]) for n in _globals(value.__code__) if n in known))

    def _object(self, value: Any) -> None:
        if isinstance(value, nn.Module) and is_parametrized(value):
            # torch derives a class for each such layer and refuses to pickle it.
            base = type(value).__bases__[0]
            self._all(f"parametrised {base.__qualname__}", (base, vars(value)))
            return
        try:
            # The same parts that copying and pickling use; nothing is pickled here.
            reduced = value.__reduce_ex__(4)
        except Exception as error:
            reason = " ".join(str(error).split())
            raise SddError(
                f"the content of a {type(value).__name__} cannot be compared with that of another "
                f"one ({reason}), so results could be mixed up; keep it out of the model or data"
            ) from None
        if isinstance(reduced, str):
            self._say("global", type(value).__module__, type(value).__qualname__, reduced)
        else:
            parts = [
                list(part) if isinstance(part, Iterator) else part for part in reduced
            ]
            self._all(f"object {type(value).__qualname__}", parts)


def _ordered(value: Any) -> Any:
    return sorted(value, key=fingerprint) if isinstance(value, set | frozenset) else value


def _source(value: Any) -> str:
    """Return the hash of the source of the module that defines a class or a function; '' for a
    script or a notebook, whose other parts change all the time."""
    module = sys.modules.get(value.__module__ or "")
    if module is None or module.__name__ in {"__main__", "builtins"}:
        return ""
    return module_hash(module)


def _globals(code: types.CodeType) -> list[str]:
    """Return the names of the globals that a code object, and code nested in it, looks up."""
    names = {instruction.argval for instruction in dis.get_instructions(code)
             if instruction.opname in {"LOAD_GLOBAL", "LOAD_NAME"}}
    for part in code.co_consts:
        if isinstance(part, types.CodeType):
            names |= set(_globals(part))
    return sorted(names)

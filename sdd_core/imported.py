"""A user's own network, named as `package.module:function`."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import json
import os
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import tomli_w
from pydantic import ConfigDict, model_serializer

from sdd_core.plugin import Model

_LOADED: dict[str, tuple[Any, str]] = {}
"""Module name -> the spec it was loaded by, and the hash of its source then."""


class ImportedModel(Model):
    """A network that `package.module:function` makes; extra options are its keyword arguments.

    A function that has parameters `input_shape` or `num_classes` is given them.
    """

    model_config = ConfigDict(extra="allow")

    name = "package.module:function"
    path: str
    source_hash: str

    @classmethod
    def named(cls, path: str, options: dict[str, Any]) -> ImportedModel:
        """The model at `path`. Raises ValueError when there is no such function."""
        options.pop("source_hash", None)
        if "path" in options:
            raise ValueError("an option cannot be called `path`; rename the function's parameter")
        try:
            tomli_w.dumps(options)
            json.dumps(options, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ValueError(f"options of {path!r} must be numbers, text or lists of them, as in "
                             f"TOML: {error}") from None
        return cls(path=path, source_hash=_source_hash(path), **options)

    @model_serializer(mode="wrap")
    def _with_name(self, handler: Any) -> dict[str, Any]:
        fields = handler(self)
        return {"name": fields.pop("path"), **fields}

    def build(self, input_shape: tuple[int, ...], num_classes: int) -> Any:
        """What the function returns."""
        function = _function(self.path)
        given = {"input_shape": input_shape, "num_classes": num_classes}
        wanted = inspect.signature(function).parameters
        options = {k: v for k, v in given.items() if k in wanted} | (self.model_extra or {})
        return function(**options)


def _function(path: str) -> Callable[..., Any]:
    module, _, name = path.partition(":")
    # A user's module lies in the folder where they call `sdd`, as it does for `python -m`.
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        function = getattr(importlib.import_module(module), name)
    except (Exception, SystemExit) as error:
        raise ValueError(f"cannot import {path!r}: {type(error).__name__}: {error}") from None
    if not callable(function):
        raise ValueError(f"{path!r} is no function or class")
    return function


def _source_hash(path: str) -> str:
    """Changes when the file changes: another network must not reuse this one's levels. Both the
    module that was named and the one that defines the function count."""
    function = _function(path)
    named = sys.modules[path.partition(":")[0]]
    defining = inspect.getmodule(function) or named
    hashes = [_module_hash(module) for module in dict.fromkeys((named, defining))]
    return hashlib.sha256("".join(hashes).encode()).hexdigest()[:16]


def _module_hash(module: ModuleType) -> str:
    """Of the source that was loaded: a file that changes afterwards, while a notebook still runs
    the old code, must not count before it is loaded again, which gives the module a new spec."""
    spec, known = _LOADED.get(module.__name__, (None, ""))
    if known and spec is module.__spec__ and spec is not None:
        return known
    try:
        source = inspect.getsource(module)
    except (OSError, TypeError):  # built in, or typed into an interpreter
        source = module.__name__
    found = hashlib.sha256(source.encode()).hexdigest()
    _LOADED[module.__name__] = (module.__spec__, found)
    return found


def option_types(path: str) -> dict[str, Any]:
    """The types of the parameters of the function at `path`, as far as its annotations or its
    defaults say them. Raises ValueError when there is no such function."""
    try:
        parameters = inspect.signature(_function(path), eval_str=True).parameters
    except (NameError, TypeError):  # annotations for type checkers only; no signature
        return {}
    return {
        name: type(parameter.default) if parameter.annotation is parameter.empty
        else parameter.annotation
        for name, parameter in parameters.items()
    }

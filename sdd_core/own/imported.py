"""A user's own network or data, named as `package.module:function`."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Self

import tomli_w
from pydantic import ConfigDict, model_serializer

from sdd_core.errors import FAILURES, SddError, said
from sdd_core.plugin import DataSource, Model, Plugin

if TYPE_CHECKING:
    from sdd_core.data import Dataset

_LOADED: dict[str, tuple[Any, str]] = {}
"""Module name -> the spec it was loaded by, and the hash of its source then."""


class _Imported(Plugin):
    """What `package.module:function` makes; extra options are its keyword arguments."""

    model_config = ConfigDict(extra="allow")

    name = "package.module:function"
    path: str
    source_hash: str

    @classmethod
    def named(cls, path: str, options: dict[str, Any]) -> Self:
        """What the function at `path` makes. Options from a run's record have the hash of its
        source, and it is then not imported before it is needed, so that a run can be read without
        it. Raises ValueError when there is no such function."""
        if "path" in options:
            raise ValueError("an option cannot be called `path`; rename the function's parameter")
        try:
            tomli_w.dumps(options)
            json.dumps(options, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ValueError(f"options of {path!r} must be numbers, text or lists of them, as in "
                             f"TOML: {error}") from None
        found = options.pop("source_hash", "") or _source_hash(path)
        return cls(path=path, source_hash=found, **options)

    @model_serializer(mode="wrap")
    def _with_name(self, handler: Any) -> dict[str, Any]:
        fields = handler(self)
        return {"name": fields.pop("path"), **fields}

    def _call(self, **given: Any) -> Any:
        try:
            function, found = _function(self.path), _source_hash(self.path)
        except ValueError as error:
            raise SddError(f"{self.kind}: {error}") from None
        if found != self.source_hash:
            raise SddError(f"{self.kind} {self.path!r}: its source has changed since a run began "
                           "that cannot go on with another one; leave source_hash out of the "
                           "settings to begin anew")
        return call(function, given, self.model_extra or {})


class ImportedModel(Model, _Imported):
    """A network that `package.module:function` makes.

    A function that has parameters `input_shape` or `num_classes` is given them.
    """

    def build(self, input_shape: tuple[int, ...], num_classes: int) -> Any:
        """What the function returns."""
        return self._call(input_shape=input_shape, num_classes=num_classes)


class ImportedData(DataSource, _Imported):
    """Data that `package.module:function` makes: a Dataset, or training and test data as
    `Dataset.of` takes them. A function that has a parameter `root` is given the folder of
    `--data-root`. Files that it reads are not part of the levels' keys: another name, or another
    option, has to tell other contents apart.
    """

    def load(self, root: Path | None) -> Dataset:
        """What the function returns."""
        from sdd_core.data import Dataset  # noqa: PLC0415 (torch, which settings do without)

        made = self._call(root=root)
        if isinstance(made, Dataset):
            return made
        if not isinstance(made, tuple | list) or len(made) != 2:
            raise SddError(f"data {self.path!r} returned {type(made).__name__}; expected a "
                           "sdd_core.Dataset, or a pair of training and test data")
        return Dataset.of(*made, name=self.path)


def call(
    function: Callable[..., Any], given: Mapping[str, Any], options: Mapping[str, Any]
) -> Any:
    """Call a function with those of the `given` arguments that it has parameters for."""
    try:
        wanted = set(inspect.signature(function).parameters)
    except ValueError:  # built in
        wanted = set()
    return function(**{k: v for k, v in given.items() if k in wanted}, **options)


def _function(path: str) -> Callable[..., Any]:
    module, _, name = path.partition(":")
    _look_in_this_folder()
    try:
        function = getattr(importlib.import_module(module), name)
    except FAILURES as error:
        raise ValueError(f"cannot import {path!r}: {said(error)}") from None
    if not callable(function):
        raise ValueError(f"{path!r} is no function or class")
    return function


def _look_in_this_folder() -> None:
    """Put the current folder on the path, for that is where a user's module lies: before installed
    packages, and after the standard library, for which their queue.py does not stand."""
    folder, standard = os.getcwd(), os.path.dirname(os.__file__)
    if folder not in sys.path:
        known = [n for n, entry in enumerate(sys.path, start=1)
                 if entry in {standard, os.path.join(standard, "lib-dynload")}]
        sys.path.insert(max(known, default=0), folder)


def _source_hash(path: str) -> str:
    """Changes when the file changes: another network must not reuse this one's levels. Both the
    module that was named and the one that defines the function count."""
    function = _function(path)
    named = sys.modules[path.partition(":")[0]]
    defining = inspect.getmodule(function) or named
    hashes = [module_hash(module) for module in dict.fromkeys((named, defining))]
    return hashlib.sha256("".join(hashes).encode()).hexdigest()[:16]


def module_hash(module: ModuleType) -> str:
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

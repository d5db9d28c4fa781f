"""A user's own network or data, named as `package.module:function`."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import decode_source
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Self

import tomli_w
from pydantic import ConfigDict, model_serializer

from sdd_core.errors import FAILURES, SddError, format_error
from sdd_core.files.reading import LARGEST_SETTINGS, read_bytes
from sdd_core.plugin.kinds import DataSource, Model, Plugin

if TYPE_CHECKING:
    from sdd_core.data.dataset import Dataset

_LOADED: dict[str, tuple[Any, str]] = {}
"""Module name -> the spec it was loaded by, and the hash of its source then."""


class Imported(Plugin):
    """What `package.module:function` makes; extra options are its keyword arguments."""

    model_config = ConfigDict(extra="allow")

    name = "package.module:function"
    path: str
    source_hash: str

    @classmethod
    def named(cls, path: str, options: dict[str, Any], *, importing: bool = True) -> Self:
        """What the function at `path` makes. Options from a run's record have the hash of its
        source, and it is then not imported before it is needed, so that a run can be read without
        it. Raises ValueError when there is no such function, or when it would have to be imported
        and that is not allowed."""
        if "path" in options:
            raise ValueError("an option cannot be called `path`; rename the function's parameter")
        try:
            tomli_w.dumps(options)
            json.dumps(options, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ValueError(f"options of {path!r} must be numbers, text or lists of them, as in "
                             f"TOML: {error}") from None
        found = options.pop("source_hash", "")
        if not found and not importing:
            raise ValueError(f"{path!r} has no source_hash, which runs record, and reading a run "
                             "imports no module to find it out")
        return cls(path=path, source_hash=found or _source_hash(path), **options)

    @model_serializer(mode="wrap")
    def _with_name(self, handler: Any) -> dict[str, Any]:
        fields = handler(self)
        return {"name": fields.pop("path"), **fields}

    def sources(self) -> dict[str, tuple[str, str]]:
        """The file and the SHA-256 of the source of each module that was imported for it: the one
        that was named with the packages that it lies in, and the one that defines the function."""
        named = self.path.partition(":")[0]
        defining = inspect.getmodule(_function(self.path))
        names = [*_with_packages(named), *([defining.__name__] if defining else [])]
        modules = {name: sys.modules[name] for name in names if name in sys.modules}
        return {name: (_file_of(module.__spec__), module_hash(module))
                for name, module in modules.items()}

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


class ImportedModel(Model, Imported):
    """A network that `package.module:function` makes.

    A function that has parameters `input_shape` or `num_classes` is given them.
    """

    def build(self, input_shape: tuple[int, ...], num_classes: int) -> Any:
        """What the function returns."""
        return self._call(input_shape=input_shape, num_classes=num_classes)


class ImportedData(DataSource, Imported):
    """Data that `package.module:function` makes: a Dataset, or training and test data as
    `Dataset.of` takes them. A function that has a parameter `root` is given the folder of
    `--data-root`. Files that it reads are not part of the levels' keys: another name, or another
    option, has to tell other contents apart.
    """

    def load(self, root: Path | None) -> Dataset:
        """What the function returns."""
        from sdd_core.data.dataset import Dataset  # noqa: PLC0415 (torch, which settings do without)

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
    sys.path[:] = _search_path()
    try:
        function = getattr(importlib.import_module(module), name)
    except FAILURES as error:
        raise ValueError(f"cannot import {path!r}: {format_error(error)}") from None
    if not callable(function):
        raise ValueError(f"{path!r} is no function or class")
    return function


def _search_path() -> list[str]:
    """The path with the current folder on it, for that is where a user's module lies: before
    installed packages, and after the standard library, for which their queue.py does not stand."""
    path, folder, standard = list(sys.path), os.getcwd(), os.path.dirname(os.__file__)
    if folder not in path:
        known = [n for n, entry in enumerate(path, start=1)
                 if entry in {standard, os.path.join(standard, "lib-dynload")}]
        path.insert(max(known, default=0), folder)
    return path


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


def strange_modules(path: str, known: Mapping[str, tuple[str, str]]) -> list[str]:
    """The modules that `path` would import and that are not the known ones, each with the reason.
    They are found as Python finds them, and none is imported.

    known: files and SHA-256 of sources by the modules' names, as `Imported.sources` has them.
    """
    strange, where = [], _search_path()
    for name in _with_packages(path.partition(":")[0]):
        spec = _spec(name, where)
        file = _file_of(spec)
        where = list(spec.submodule_search_locations or ()) if spec else []
        if name not in known:
            strange.append(f"{name} ({file or 'not found'}) is not in the run's record")
        elif known[name][0] != file:
            strange.append(f"{name} is {file or 'not found'}, and was {known[name][0]}")
        elif known[name][1] != _hash_in(Path(file), name):
            strange.append(f"{name} ({file}) has another source")
    others = known.keys() - set(_with_packages(path.partition(":")[0]))
    return strange + [f"{name} ({known[name][0]}) has another source" for name in sorted(others)
                      if known[name][1] != _hash_in(Path(known[name][0]), name)]


def _spec(name: str, where: Sequence[str]) -> ModuleSpec | None:
    """Where a module comes from, of which the packages around it have been found."""
    for finder in sys.meta_path:
        # The others do not look in folders for what lies in no package.
        path = where if finder is PathFinder or "." in name else None
        if spec := finder.find_spec(name, path):
            return spec
    return None


def _file_of(spec: ModuleSpec | None) -> str:
    return str(spec.origin or "") if spec else ""


def _with_packages(module: str) -> list[str]:
    """A module's name after those of the packages that it lies in, all of which are imported."""
    parts = module.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts) + 1)]


def _hash_in(file: Path, module: str) -> str:
    """What `module_hash` is of a module that is imported from a file; '' where it cannot be read,
    its name's where the file is no source."""
    try:
        source = decode_source(read_bytes(file, LARGEST_SETTINGS))
    except (FileNotFoundError, SddError):
        return ""
    except (SyntaxError, UnicodeDecodeError):
        source = ""
    if not source:  # as `inspect` finds it
        return hashlib.sha256(module.encode()).hexdigest()
    # As `inspect` has it, with an end of the last line.
    return hashlib.sha256((source + "\n" * (not source.endswith("\n"))).encode()).hexdigest()


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

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
"""By module name: the spec from which it was loaded, and the hash of its source at that time."""


class Imported(Plugin):
    """An object that `package.module:function` makes; extra options are its keyword arguments."""

    model_config = ConfigDict(extra="allow")

    name = "package.module:function"
    path: str
    source_hash: str

    @classmethod
    def named(cls, path: str, options: dict[str, Any], *, importing: bool = True) -> Self:
        """Return the plugin for the function at `path`.

        Options from a run's record hold the hash of its source. It is then imported only when it
        is needed, so that a run can be read without it.

        Raises ValueError if there is no such function, if an option is invalid, or if it would
        have to be imported and `importing` is False.
        """
        if "path" in options:
            raise ValueError("an option cannot be called `path`; rename the function's parameter")
        try:
            tomli_w.dumps(options)
            json.dumps(options, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ValueError(f"options of {path!r} must be values of TOML, such as numbers, text "
                             f"or lists of them: {error}") from None
        found = options.pop("source_hash", "")
        if not found and not importing:
            raise ValueError(f"{path!r} has no source_hash in the run's record, and reading a run "
                             "imports no module to compute it")
        return cls(path=path, source_hash=found or _source_hash(path), **options)

    @model_serializer(mode="wrap")
    def _with_name(self, handler: Any) -> dict[str, Any]:
        fields = handler(self)
        return {"name": fields.pop("path"), **fields}

    def sources(self) -> dict[str, tuple[str, str]]:
        """Return the file and the SHA-256 of the source of each module imported for it: the named
        module with its parent packages, and the module that defines the function."""
        named = self.path.partition(":")[0]
        defining = inspect.getmodule(_function(self.path))
        names = [*_with_packages(named), *([defining.__name__] if defining else [])]
        modules = {name: sys.modules[name] for name in names if name in sys.modules}
        return {name: (_file_of(module.__spec__), module_hash(module))
                for name, module in modules.items()}

    def current(self) -> Self:
        """Return the plugin for the source as it is now, which is imported. Raises SddError if the
        function is gone."""
        try:
            return type(self).named(self.path, dict(self.model_extra or {}))
        except ValueError as error:
            raise SddError(f"{self.kind}: {error}") from None

    def _call(self, **given: Any) -> Any:
        try:
            function, found = _function(self.path), _source_hash(self.path)
        except ValueError as error:
            raise SddError(f"{self.kind}: {error}") from None
        if found != self.source_hash:
            raise SddError(f"{self.kind} {self.path!r}: its source has changed since the run "
                           "started, so the run cannot be resumed; remove source_hash from the "
                           "settings to start a new run")
        return call(function, given, self.model_extra or {})


class ImportedModel(Model, Imported):
    """A network that `package.module:function` makes.

    If the function has parameters `input_shape` or `num_classes`, they are passed to it.
    """

    def build(self, input_shape: tuple[int, ...], num_classes: int) -> Any:
        """Return what the function returns."""
        return self._call(input_shape=input_shape, num_classes=num_classes)


class ImportedData(DataSource, Imported):
    """Data that `package.module:function` makes: a Dataset, or a pair of training and test data
    that `Dataset.of` accepts.

    If the function has a parameter `root`, the folder of `--data-root` is passed to it. Level keys
    do not depend on the files that it reads: use another name or option for other contents.
    """

    def load(self, root: Path | None) -> Dataset:
        """Return what the function returns, as a Dataset. Raises SddError for anything else."""
        from sdd_core.data.dataset import Dataset  # noqa: PLC0415 (torch, not needed for settings)

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
    """Call a function with its `options` and those `given` arguments that it has parameters for."""
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
        raise ValueError(f"{path!r} is not a function or class")
    return function


def _search_path() -> list[str]:
    """Return `sys.path` with the current folder, where a user's module lies: before installed
    packages, but after the standard library, so that a user's `queue.py` does not replace it."""
    path, folder, standard = list(sys.path), os.getcwd(), os.path.dirname(os.__file__)
    if folder not in path:
        known = [n for n, entry in enumerate(path, start=1)
                 if entry in {standard, os.path.join(standard, "lib-dynload")}]
        path.insert(max(known, default=0), folder)
    return path


def _source_hash(path: str) -> str:
    """Return a hash of the sources of the named module and of the one that defines the function.
    It changes with the file, so that another network does not reuse this one's levels."""
    function = _function(path)
    named = sys.modules[path.partition(":")[0]]
    defining = inspect.getmodule(function) or named
    hashes = [module_hash(module) for module in dict.fromkeys((named, defining))]
    return hashlib.sha256("".join(hashes).encode()).hexdigest()[:16]


def module_hash(module: ModuleType) -> str:
    """Return the SHA-256 of a module's source as it was loaded.

    A later change of the file does not count until the module is loaded again, which gives it a
    new spec: until then a notebook still runs the old code.
    """
    spec, known = _LOADED.get(module.__name__, (None, ""))
    if known and spec is module.__spec__ and spec is not None:
        return known
    try:
        source = inspect.getsource(module)
    except (OSError, TypeError):  # a built-in module, or one defined in an interpreter
        source = module.__name__
    found = hashlib.sha256(source.encode()).hexdigest()
    _LOADED[module.__name__] = (module.__spec__, found)
    return found


def strange_modules(path: str, known: Mapping[str, tuple[str, str]]) -> list[str]:
    """Return the modules that `path` would import and that differ from the known ones, each with
    the reason. They are located as Python would do it, but not imported.

    known: file and SHA-256 of the source by module name, as `Imported.sources` returns them.
    """
    strange, where = [], _search_path()
    for name in _with_packages(path.partition(":")[0]):
        spec = _spec(name, where)
        file = _file_of(spec)
        where = list(spec.submodule_search_locations or ()) if spec else []
        if name not in known:
            strange.append(f"{name} ({file or 'not found'}) is not in the run's record")
        elif known[name][0] != file:
            strange.append(f"{name} is {file or 'not found'}, but was {known[name][0]}")
        elif known[name][1] != _hash_in(Path(file), name):
            strange.append(f"{name} ({file}) has another source")
    others = known.keys() - set(_with_packages(path.partition(":")[0]))
    return strange + [f"{name} ({known[name][0]}) has another source" for name in sorted(others)
                      if known[name][1] != _hash_in(Path(known[name][0]), name)]


def _spec(name: str, where: Sequence[str]) -> ModuleSpec | None:
    """Return the spec of a module; None if it is not found. where: the folders of its package."""
    for finder in sys.meta_path:
        # Only PathFinder searches folders for a top-level module; other finders need None.
        path = where if finder is PathFinder or "." in name else None
        if spec := finder.find_spec(name, path):
            return spec
    return None


def _file_of(spec: ModuleSpec | None) -> str:
    return str(spec.origin or "") if spec else ""


def _with_packages(module: str) -> list[str]:
    """Return the names of a module's parent packages, which are imported too, and its own name."""
    parts = module.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts) + 1)]


def _hash_in(file: Path, module: str) -> str:
    """Return what `module_hash` would return for a module imported from `file`; '' if the file
    cannot be read, the hash of the module's name if it is not source code."""
    try:
        source = decode_source(read_bytes(file, LARGEST_SETTINGS))
    except (FileNotFoundError, SddError):
        return ""
    except (SyntaxError, UnicodeDecodeError):
        source = ""
    if not source:  # `inspect` finds no source either
        return hashlib.sha256(module.encode()).hexdigest()
    # `inspect` adds a missing line break at the end.
    return hashlib.sha256((source + "\n" * (not source.endswith("\n"))).encode()).hexdigest()


def option_types(path: str) -> dict[str, Any]:
    """Return the types of the parameters of the function at `path`, from its annotations or
    defaults. Raises ValueError if there is no such function."""
    try:
        parameters = inspect.signature(_function(path), eval_str=True).parameters
    except (NameError, TypeError):  # annotations for type checkers only; no signature
        return {}
    return {
        name: type(parameter.default) if parameter.annotation is parameter.empty
        else parameter.annotation
        for name, parameter in parameters.items()
    }

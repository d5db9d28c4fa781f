"""A user's own network, named as `package.module:function`."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import os
import sys
from collections.abc import Callable
from typing import Any

from pydantic import ConfigDict, model_serializer

from sdd_core.errors import SddError
from sdd_core.plugin import Model


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
        return cls(path=path, source_hash=_source_hash(_function(path)), **options)

    @model_serializer(mode="wrap")
    def _with_name(self, handler: Any) -> dict[str, Any]:
        fields = handler(self)
        return {"name": fields.pop("path"), **fields}

    def build(self, input_shape: tuple[int, ...], num_classes: int) -> Any:
        """What the function returns. Raises SddError when that is no network."""
        function = _function(self.path)
        given = {"input_shape": input_shape, "num_classes": num_classes}
        wanted = inspect.signature(function).parameters
        options = {k: v for k, v in given.items() if k in wanted} | (self.model_extra or {})
        try:
            network = function(**options)
        except Exception as error:
            raise SddError(f"model {self.path}: {type(error).__name__}: {error}") from error
        from torch import nn  # noqa: PLC0415 (naming a model must not wait for torch)

        if not isinstance(network, nn.Module):
            raise SddError(f"model {self.path} returned {type(network).__name__}; expected a "
                           "torch.nn.Module")
        return network


def _function(path: str) -> Callable[..., Any]:
    module, _, name = path.partition(":")
    # A user's module lies in the folder where they call `sdd`, as it does for `python -m`.
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        function = getattr(importlib.import_module(module), name)
    except Exception as error:
        raise ValueError(f"cannot import {path!r}: {type(error).__name__}: {error}") from None
    if not callable(function):
        raise ValueError(f"{path!r} is no function or class")
    return function


def _source_hash(function: Callable[..., Any]) -> str:
    """Changes when the file changes: another network must not reuse this one's levels."""
    try:
        source = inspect.getsource(inspect.getmodule(function) or function)
    except (OSError, TypeError):
        source = f"{function.__module__}.{function.__qualname__}"
    return hashlib.sha256(source.encode()).hexdigest()[:16]

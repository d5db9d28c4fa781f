"""Names of parameters, and patterns for them."""

from __future__ import annotations

from fnmatch import fnmatchcase


def layer_of(name: str) -> str:
    """Return the name of a parameter's layer: `fc` for `fc.weight` and for
    `fc.parametrizations.weight.original1`."""
    head, parametrised, _ = f".{name}".partition(".parametrizations.")
    return (head if parametrised else head.rpartition(".")[0])[1:]


def matches(name: str, pattern: str) -> bool:
    """Return whether a pattern (fnmatch) matches a parameter's name or its layer's name."""
    return fnmatchcase(name, pattern) or fnmatchcase(layer_of(name), pattern)

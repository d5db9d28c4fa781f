"""What parameters are called, and the patterns that users write for them."""

from __future__ import annotations

from fnmatch import fnmatchcase


def layer_of(name: str) -> str:
    """Return the name of the layer that a parameter belongs to, `fc` for `fc.weight` and for
    `fc.parametrizations.weight.original1`."""
    head, parametrised, _ = f".{name}".partition(".parametrizations.")
    return (head if parametrised else head.rpartition(".")[0])[1:]


def matches(name: str, pattern: str) -> bool:
    """Return whether a pattern (fnmatch) is meant for a parameter: it matches the parameter's name
    or its layer's."""
    return fnmatchcase(name, pattern) or fnmatchcase(layer_of(name), pattern)

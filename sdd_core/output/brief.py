"""Shorten the `repr` of values that may be large."""

from __future__ import annotations

import reprlib
from collections.abc import Iterable
from typing import Any

LONGEST = 200

_REPR = reprlib.Repr()
_REPR.maxtuple = _REPR.maxlist = _REPR.maxdict = _REPR.maxset = _REPR.maxfrozenset = 6
_REPR.maxstring = _REPR.maxother = 100


class Text(str):
    """A text whose `repr` is the text itself."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def brief(value: Any) -> str:
    """Return a value's `repr` in at most 200 characters, with long texts and lists cut."""
    text = " ".join(_REPR.repr(value).split())
    return text if len(text) <= LONGEST else f"{text[:LONGEST - 3]}..."


def numbers(values: Iterable[float]) -> str:
    """Return the ends of a curve as text: `0.759, 0.742, ..., 0.868`."""
    shown = [f"{value:.4g}" for value in values]
    return ", ".join(shown if len(shown) <= 5 else [*shown[:2], "...", shown[-1]])

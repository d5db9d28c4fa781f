"""Patterns of `pruner.pattern`: weights that are pruned together, or of which groups keep some."""

from __future__ import annotations

import re
from typing import NamedTuple

UNSTRUCTURED = "unstructured"


class Pattern(NamedTuple):
    """A pattern other than 'unstructured'.

    text: as written. size: rows (outputs) and columns (inputs) of a group, 0 for all of them. keep:
    the number of weights that each group keeps, N of N:M; None if groups are pruned as a whole.
    """

    text: str
    size: tuple[int, int]
    keep: int | None = None


def parse_pattern(text: str) -> Pattern | None:
    """Return the pattern that a text describes; None for 'unstructured'. Raises ValueError."""
    lines = {"row": (1, 0), "channel": (1, 0), "column": (0, 1)}
    if text == UNSTRUCTURED:
        return None
    if text in lines:
        return Pattern(text, lines[text])
    if found := re.fullmatch(r"block ([1-9]\d*)x([1-9]\d*)", text):
        return Pattern(text, (int(found[1]), int(found[2])))
    if (found := re.fullmatch(r"([1-9]\d*):([1-9]\d*)", text)) and int(found[1]) < int(found[2]):
        return Pattern(text, (1, int(found[2])), int(found[1]))
    raise ValueError(
        f"pattern is {text!r}; expected 'unstructured', 'row', 'column', 'channel', 'block RxC', "
        "such as 'block 4x4', or 'N:M' with N below M, such as '2:4'"
    )

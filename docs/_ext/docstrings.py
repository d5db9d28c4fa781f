"""Docstrings as this project writes them, as the markup that Sphinx reads.

They are meant to be read in the source. What looks like markup there is none: `|w|` is no
substitution and `w_` no link. Lines such as `seed: of every stream` are a list of names, and a
block that is indented is code. Fields of pydantic classes, which have descriptions
and no docstrings, are added.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby
from typing import Any

from pydantic import BaseModel

from sdd_core.cli.plugins import bounds
from sdd_core.cli.types import type_name

NAMES = r"[a-z_]\w*(?:, [a-z_]\w*)*: "
SECTIONS = {"Args:", "Returns:", "Raises:", "Yields:"}


def setup(app: Any) -> dict[str, bool]:
    """Before napoleon, which takes care of the sections."""
    app.connect("autodoc-process-docstring", _process, priority=100)
    app.connect("autodoc-process-signature", _signature)
    return {"parallel_read_safe": True}


def _process(_app: Any, _what: str, _name: str, of: Any, _options: Any, lines: list[str]) -> None:
    lines[:] = list(converted(lines))
    if _is_model(of):
        lines += _fields(of)


def _signature(_app: Any, _what: str, _name: str, of: Any, *_: Any) -> tuple[str, str] | None:
    """None for what has its fields listed."""
    return ("", "") if _is_model(of) else None


def _is_model(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, BaseModel)


def _fields(model: type[BaseModel]) -> Iterator[str]:
    """The fields that the class adds to, or changes from, those of its base."""
    base = getattr(model.__base__, "model_fields", {})
    for name, info in model.model_fields.items():
        if info.description and (name not in base or base[name].description != info.description):
            yield ""
            yield f"``{name}``"
            limits = bounds(info)
            note = type_name(info.annotation) + (f", {limits}" if limits else "")
            yield f"    {escaped(info.description)} ({escaped(note)})"


def converted(lines: list[str]) -> Iterator[str]:
    """The lines of a docstring as reStructuredText."""
    in_section = False
    for blank, block in groupby(lines, key=lambda line: not line.strip()):
        paragraph = list(block)
        if blank:
            yield ""
            continue
        indented = paragraph[0].startswith(" ")
        if not indented:
            in_section = paragraph[0] in SECTIONS
        if in_section:
            yield from (escaped(line) for line in paragraph)
        elif indented:
            yield from ("::", "", *paragraph)
        elif re.match(NAMES, paragraph[0]):
            yield from _definitions(paragraph)
        else:
            yield from (escaped(line) for line in paragraph)


def _definitions(paragraph: list[str]) -> Iterator[str]:
    """`first: what it is. second, third: what they are.`, on any number of lines, as a list."""
    for part in re.split(rf"(?<=[.;]) (?={NAMES})", " ".join(line.strip() for line in paragraph)):
        names, _, meaning = part.partition(": ")
        yield ""
        yield ", ".join(f"``{name}``" for name in names.split(", "))
        yield f"    {escaped(meaning)}"
    yield ""


def escaped(line: str) -> str:
    """The line with nothing in it that is markup but `code`."""
    parts = re.split(r"(`[^`]*`)", line)
    return "".join(
        f"`{part}`" if i % 2 else re.sub(r"([|*\\]|(?<=\w)_(?!\w))", r"\\\1", part)
        for i, part in enumerate(parts)
    )

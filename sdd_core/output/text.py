"""Text is shown as what it is: nothing in a name is an instruction to what shows it.

Names of folders, plugins, models, metrics and classes, and what errors say, come from strangers.
Each place where they are shown has one function here, or uses `one_line` as
`sdd_core.output.notices` and `sdd_core.output.console` do.
"""

from __future__ import annotations

import csv
import html
import io
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

_FORMULA = re.compile(r"\s*[=+\-@\uff1d\uff0b\uff0d\uff20]")
"""How a cell begins that a spreadsheet calculates; some take full-width signs for the others."""

_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")

_MARKDOWN = re.compile(r"[\\`*\[\]<>|&~$]|(?<![a-zA-Z0-9])_|_(?![a-zA-Z0-9])")
"""What Markdown gives a meaning; an underscore inside a word has none."""


def one_line(text: object) -> str:
    """Return a text on one line, without what a terminal obeys: every character that does not
    print stands as its escape, `\\n` or `\\x1b`, as `repr` has it."""
    text = str(text)
    return text if text.isprintable() else "".join(
        c if c.isprintable() else _escape(c) for c in text
    )


def visible(text: object) -> str:
    """Return a text whose control characters stand as their escapes; a page has no other that it
    cannot show."""
    return _CONTROLS.sub(lambda found: _escape(found[0]), str(text))


def html_text(text: object) -> str:
    """Return a text as HTML that shows it."""
    return html.escape(visible(text))


def markdown_text(text: object) -> str:
    """Return a text as Markdown that shows it, also in the cell of a table."""
    return _MARKDOWN.sub(lambda found: f"&#{ord(found[0])};", one_line(text))


def csv_text(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] | None = None) -> str:
    """Return rows as CSV with a header. None and NaN are empty cells, numbers stay numbers, and a
    text that a spreadsheet would calculate has an apostrophe before it.

    columns: not given: all that rows have, in the order in which they come.
    """
    if columns is None:
        columns = list(dict.fromkeys(name for row in rows for name in row))
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(map(_cell, columns))
    writer.writerows([_cell(row.get(column)) for column in columns] for row in rows)
    return stream.getvalue()


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode()


def _cell(value: Any) -> Any:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, int | float):
        return value
    text = one_line(value)
    return f"'{text}" if _FORMULA.match(text) and not _is_numbers(text) else text


def _is_numbers(text: str) -> bool:
    """Whether a text is a number, or numbers with commas between them, as a list of settings."""
    try:
        return all(math.isfinite(float(part)) for part in text.split(","))
    except ValueError:
        return False


def percent(sparsity: float) -> str:
    """Return a sparsity with the digits that tell one level from the next."""
    digits = 1 + sum(sparsity >= limit for limit in (0.995, 0.9995, 0.99995))
    return f"{100 * sparsity:.{digits}f} %"

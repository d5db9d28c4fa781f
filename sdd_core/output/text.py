"""Escape text for each output format, so that no text is interpreted as markup or a command.

Names of folders, plugins, models, metrics and classes, and error messages, are untrusted. Each
output format has one function here, or uses `one_line`, as `sdd_core.output.notices` and
`sdd_core.output.console` do.
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
"""The beginning of a cell that a spreadsheet calculates; some also accept full-width signs."""

_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")

_MARKDOWN = re.compile(r"[\\`*\[\]<>|&~$]|(?<![a-zA-Z0-9])_|_(?![a-zA-Z0-9])")
"""Characters with a meaning in Markdown; an underscore inside a word has none."""


def one_line(text: object) -> str:
    """Return a text on one line, safe for terminals: every character that is not printable is
    replaced by its escape, such as `\\n` or `\\x1b`."""
    text = str(text)
    return text if text.isprintable() else "".join(
        c if c.isprintable() else _escape(c) for c in text
    )


def visible(text: object) -> str:
    """Return a text with its control characters replaced by escapes; pages can show all others."""
    return _CONTROLS.sub(lambda found: _escape(found[0]), str(text))


def html_text(text: object) -> str:
    """Return a text escaped for HTML."""
    return html.escape(visible(text))


def markdown_text(text: object) -> str:
    """Return a text escaped for Markdown, including table cells."""
    return _MARKDOWN.sub(lambda found: f"&#{ord(found[0])};", one_line(text))


def csv_text(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] | None = None) -> str:
    """Return rows as CSV with a header. None and NaN become empty cells, numbers stay numbers, and
    a text that a spreadsheet would calculate gets an apostrophe in front.

    columns: default: all columns of the rows, in order of their first appearance.
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
    """Return whether a text is a number, or numbers separated by commas."""
    try:
        return all(math.isfinite(float(part)) for part in text.split(","))
    except ValueError:
        return False


def percent(sparsity: float) -> str:
    """Return a sparsity as percent, with enough digits to distinguish levels."""
    digits = 1 + sum(sparsity >= limit for limit in (0.995, 0.9995, 0.99995))
    return f"{100 * sparsity:.{digits}f} %"


def short_number(value: float) -> str:
    """Return a number with three significant digits and the prefix of its thousands: `50.2 k`."""
    for power, prefix in ((9, " G"), (6, " M"), (3, " k")):
        # What rounds to 1000 has the next prefix.
        if abs(value) >= 0.9995 * 10**power:
            return f"{value / 10**power:.3g}{prefix}"
    return f"{value:.3g}"

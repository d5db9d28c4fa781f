"""Fit tables and texts to a terminal of any width without breaking words."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

READABLE = 24
"""Least width of a column that is narrowed for others, in characters."""

GAP = 2
"""Space between two columns, in characters."""


def wrapped(text: str, width: int, indent: str = "") -> list[str]:
    """Return the lines of a text, broken at spaces only; a word wider than `width` gets its own
    line. indent: text before all lines except the first."""
    return textwrap.wrap(text, width, subsequent_indent=indent, break_long_words=False,
                         break_on_hyphens=False) or [""]


class FittingTable(Table):
    """A table without lines. If it is too wide for the terminal, its texts and titles are wrapped
    in their columns. If that is not enough, columns are left out, with a note below; if none may be
    left out, each row is printed as a list of its cells."""

    def __init__(self, *titles: str, optional: Sequence[str] = (), **options: Any) -> None:
        """optional: titles of the columns that may be left out, in this order."""
        self._optional = optional
        super().__init__(*titles, box=None, header_style="bold", **options)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """See rich."""
        columns, left_out = list(range(len(self.columns))), []
        optional = [number for title in self._optional for number in columns
                    if self.columns[number].header == title]
        while (widths := self._widths(columns, console, options.max_width)) is None:
            if not optional:
                yield from self._as_lists(console, options.max_width)
                break
            columns.remove(optional[0])
            left_out.append(str(self.columns[optional.pop(0)].header))
        else:
            yield self._with(columns, widths)
        notes = str(self.caption).splitlines() if self.caption else []
        if left_out and widths:
            notes.append(f"left out for lack of space: {', '.join(left_out)}")
        for note in notes:
            yield from _lines(console.render_str(note).plain, options.max_width, " ", "dim italic")

    def _texts(self, column: int, console: Console) -> list[str]:
        return [console.render_str(str(cell)).plain for cell in self.columns[column].cells]

    def _widths(self, columns: list[int], console: Console, width: int) -> list[int] | None:
        """Return the widths of columns, narrowed to fit; None if there is too little space."""
        least, wanted = [], []
        for number in columns:
            title, texts = str(self.columns[number].header), self._texts(number, console)
            words = [cell_len(word) for text in (title, *texts) for word in text.split()]
            lengths = [cell_len(text) for text in texts]
            wanted.append(max([cell_len(title), *lengths]))
            least.append(max([*words, min(max(lengths, default=0), READABLE)], default=0))
        room = width - GAP * len(columns) - sum(least)
        if room < 0:
            return None
        for number in sorted(range(len(columns)), key=lambda one: wanted[one] - least[one]):
            more = min(room, wanted[number] - least[number])
            least[number] += more
            room -= more
        return least

    def _with(self, columns: list[int], widths: list[int]) -> Table:
        made = Table(box=None, header_style=self.header_style)
        for number, width in zip(columns, widths, strict=True):
            column = self.columns[number]
            made.add_column(column.header, justify=column.justify, width=width)
        cells = [self.columns[number].cells for number in columns]
        for row, texts in zip(self.rows, zip(*cells, strict=True), strict=True):
            made.add_row(*texts, style=row.style)
        return made

    def _as_lists(self, console: Console, width: int) -> Iterator[Text]:
        titles = [str(column.header) for column in self.columns]
        columns = [self._texts(number, console) for number in range(len(titles))]
        for row, (first, *others) in zip(self.rows, zip(*columns, strict=True), strict=True):
            style = str(row.style or "")
            yield from _lines(first, width, " ", f"bold {style}")
            for title, text in zip(titles[1:], others, strict=True):
                if text:
                    entry = f"{title}: {text}" if title else text
                    yield from _lines(entry, width, "   ", style)


def _lines(text: str, width: int, indent: str, style: str) -> Iterator[Text]:
    for line in wrapped(indent + text, width, indent + "  "):
        yield Text(line, style=style, no_wrap=True, overflow="ignore")

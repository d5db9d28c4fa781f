"""Print tables and progress bars on a terminal."""

from __future__ import annotations

import sys
from typing import Any, TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TimeElapsedColumn,
)
from rich.table import Column
from rich.text import Text

from sdd_core.output.fitting import wrapped
from sdd_core.output.notices import lenient
from sdd_core.output.text import one_line


class PlainConsole(Console):
    """A console that interprets no text: no markup, no emoji, no control characters. Only `style`
    sets colours."""

    def print(self, *objects: Any, **options: Any) -> None:
        """Print objects without cutting off those wider than the terminal."""
        super().print(*objects, **{"crop": False, **options})

    def say(self, text: object, style: str = "") -> None:
        """Print a text; on a terminal, wrap it between words."""
        whole = one_line(text)
        lines = wrapped(whole, self.width) if self.is_terminal else [whole]
        for part in lines:
            self.print(Text(part, style=style), soft_wrap=True)

    def render_str(self, text: str, **options: Any) -> Text:
        """Return a text without markup, for printing, table cells and headers."""
        plain = {"markup": False, "emoji": False, "highlight": False, "highlighter": None}
        return super().render_str(one_line(text), **{**options, **plain})


def level_bar(title: str, console: PlainConsole) -> Progress:
    """Return a bar that counts levels, behind a title; it is removed at its end."""
    # The bar gives way where the terminal is narrow.
    bar = BarColumn(None, table_column=Column(max_width=40))
    columns = (Title(title), MofNCompleteColumn(), bar, Description(), TimeElapsedColumn())
    return Progress(*columns, console=console, transient=True)


class Description(ProgressColumn):
    """The description of a bar's task, on one line."""

    def __init__(self) -> None:
        super().__init__(Column(no_wrap=True))

    def render(self, task: Task) -> Text:
        """See rich."""
        return Text(one_line(task.description), style="progress.description")


class Title(ProgressColumn):
    """A word before a bar."""

    def __init__(self, word: str) -> None:
        self._word = word
        super().__init__()

    def render(self, task: Task) -> Text:
        """See rich."""
        return Text(self._word, style="bold")


def notice_console(stream: TextIO | None = None) -> PlainConsole:
    """Return a console for notices on a stream. Default: standard error."""
    return PlainConsole(file=lenient(sys.stderr if stream is None else stream))

"""Tables and bars on a terminal."""

from __future__ import annotations

import sys
from typing import Any, TextIO

from rich.console import Console
from rich.progress import ProgressColumn, Task
from rich.text import Text

from sdd_core.output.fitting import wrapped
from sdd_core.output.notices import lenient
from sdd_core.output.text import one_line


class PlainConsole(Console):
    """Shows every text as what it is: no markup, no emoji, no control characters. Colours come
    from `style` alone."""

    def print(self, *objects: Any, **options: Any) -> None:
        """Print; what is wider than the terminal is not cut off."""
        super().print(*objects, **{"crop": False, **options})

    def say(self, text: object, style: str = "") -> None:
        """Print a text, on a terminal on as many lines as it needs without a broken word."""
        whole = one_line(text)
        lines = wrapped(whole, self.width) if self.is_terminal else [whole]
        for part in lines:
            self.print(Text(part, style=style), soft_wrap=True)

    def render_str(self, text: str, **options: Any) -> Text:
        """Return a text to show, wherever it stands: printed, in a table, as its header."""
        plain = {"markup": False, "emoji": False, "highlight": False, "highlighter": None}
        return super().render_str(one_line(text), **{**options, **plain})


class Description(ProgressColumn):
    """What a bar says of its task."""

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
    """A stream for notices, standard error if none is given."""
    return PlainConsole(file=lenient(sys.stderr if stream is None else stream))

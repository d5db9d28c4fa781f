"""What commands print on standard output."""

from __future__ import annotations

from sdd_core.output.console import PlainConsole

PIPE_WIDTH = 100_000
"""In a pipe there is no edge of the screen to wrap at."""


def console() -> PlainConsole:
    """Standard output for tables, as wide as the terminal."""
    made = PlainConsole()
    return made if made.is_terminal else PlainConsole(width=PIPE_WIDTH)


def echo(text: object = "", style: str = "") -> None:
    """Print one line on standard output, on a terminal broken between words where it is long."""
    console().say(text, style)

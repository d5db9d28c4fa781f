"""Print the output of commands on standard output."""

from __future__ import annotations

from sdd_core.output.console import PlainConsole

PIPE_WIDTH = 100_000
"""Width for pipes, where lines are not wrapped, in characters."""


def console() -> PlainConsole:
    """Return a console on standard output for tables, as wide as the terminal."""
    made = PlainConsole()
    return made if made.is_terminal else PlainConsole(width=PIPE_WIDTH)


def echo(text: object = "", style: str = "") -> None:
    """Print one line on standard output; on a terminal, long lines are wrapped between words."""
    console().say(text, style)

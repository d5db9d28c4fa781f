"""What commands print on standard output."""

from __future__ import annotations

import click

from sdd_core.output.console import PlainConsole
from sdd_core.output.text import one_line

# In a pipe there is no edge of the screen to wrap at.
PIPE_WIDTH = 200


def console() -> PlainConsole:
    """Standard output for tables, as wide as the terminal."""
    made = PlainConsole()
    return made if made.is_terminal else PlainConsole(width=PIPE_WIDTH)


def echo(text: object = "") -> None:
    """Print one line on standard output."""
    click.echo(one_line(text))

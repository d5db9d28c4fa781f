"""The console that tables are printed on."""

from __future__ import annotations

from rich.console import Console

# In a pipe there is no edge of the screen to wrap at.
PIPE_WIDTH = 200


def console() -> Console:
    """Standard output, as wide as the terminal."""
    made = Console()
    return made if made.is_terminal else Console(width=PIPE_WIDTH)

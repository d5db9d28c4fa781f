"""The exception for users, the exceptions that count as a plugin's failure, and their messages."""

import difflib
from collections.abc import Iterable

from sdd_core.output.text import one_line


class SddError(Exception):
    """An error that the user can fix, in one line.

    The message names what was wrong, what was expected and what to do. The command line prints it
    on standard error and exits with code 2.
    """

    def __str__(self) -> str:
        """Return the message on one line, even if names in it have line breaks."""
        return one_line(super().__str__())


FAILURES = (Exception, SystemExit)
"""Exceptions that count as a failure of the plugin that raised them, including that of `exit()`.
Ctrl-C does not: it ends the command."""


def format_error(error: BaseException) -> str:
    """Return the message of an error in one line, after the name of its class unless it is an
    SddError."""
    text = one_line(" ".join(str(error).split()))
    kind = "" if isinstance(error, SddError) else type(error).__name__
    return ": ".join(filter(None, (kind, text)))


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Return a question with the names that are similar to an unknown one; '' if none is."""
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    return f"did you mean {' or '.join(near)}?" if near else ""

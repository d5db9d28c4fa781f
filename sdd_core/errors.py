"""The one exception that reaches a user, what stands for a plugin's failure, and how both are
said."""

import difflib
from collections.abc import Iterable

from sdd_core.output.text import one_line


class SddError(Exception):
    """Something the user can mend, said in one line.

    The message names what was wrong, what was expected and what to do. The command line prints
    it on standard error and exits with code 2; in Python it is raised as it is.
    """

    def __str__(self) -> str:
        """Return the message, on one line whatever the names in it are."""
        return one_line(super().__str__())


FAILURES = (Exception, SystemExit)
"""What the code of a plugin may raise that is its own failure, and no end of the command: `exit()`
is one, Ctrl-C is none."""


def format_error(error: BaseException) -> str:
    """What went wrong, in one line; the kind of error too, where no word of ours says it."""
    text = one_line(" ".join(str(error).split()))
    kind = "" if isinstance(error, SddError) else type(error).__name__
    return ": ".join(filter(None, (kind, text)))


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """A question after the names that come near one that is unknown; '' where none does."""
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    return f"did you mean {' or '.join(near)}?" if near else ""

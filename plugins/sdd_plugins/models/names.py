"""Networks of libraries, by name: what to say of a name or an option that a library has not."""

import difflib
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from sdd_core import SddError

UNKNOWN = re.compile(r"unexpected keyword argument '(\w+)'")
TWICE = re.compile(r"multiple values for (?:keyword )?argument '(\w+)'")


def nearest(name: str, names: Sequence[str]) -> str:
    """The names that are like it, as a question, or how many there are to choose from."""
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    return f"did you mean {' or '.join(near)}?" if near else f"it has {len(names)} others"


def not_there(model: str, weights: str, place: object, error: OSError, remedy: str) -> SddError:
    """The error for trained weights that a library has not kept and cannot download.

    weights, place: what they are called, and where they were looked for.
    """
    reason = " ".join(str(error).split())
    return SddError(f"model {model!r}: {weights} are not in {place} and cannot be downloaded "
                    f"({reason}); {remedy}")


def refuse_options(model: str, options: Iterable[str], of_the_data: Collection[str]) -> None:
    """Raises SddError where an option says what follows from the data."""
    for option in options:
        if option in of_the_data:
            raise SddError(f"model {model!r}: {option} follows from the data; leave it out")


@contextmanager
def options_explained(
    model: str, options: Mapping[str, Any], known: Callable[[], Iterable[str]]
) -> Iterator[None]:
    """While a library makes a network with options: raises SddError that names the one that it
    does not take, or all of them where it cannot be made with their values.

    known: the names of those that it does take, as far as they can be found out.
    """
    try:
        yield
    except SddError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())
        found = UNKNOWN.search(reason) or TWICE.search(reason)
        if isinstance(error, TypeError) and found and found[1] in options:
            names = sorted(set(known()) - {found[1]})
            hint = f"; it takes {', '.join(names)}" if names else ""
            raise SddError(f"model {model!r} takes no option {found[1]!r}{hint}") from error
        if not options:
            raise
        given = ", ".join(f"{name}={value!r}" for name, value in options.items())
        raise SddError(f"model {model!r} cannot be made with {given}: {type(error).__name__}: "
                       f"{reason}") from error

"""Errors about names and options of libraries' networks."""

import difflib
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from sdd_core import SddError

UNKNOWN = re.compile(r"unexpected keyword argument '(\w+)'")
TWICE = re.compile(r"multiple values for (?:keyword )?argument '(\w+)'")


def nearest(name: str, names: Sequence[str]) -> str:
    """Return similar names, as a question, or the number of available names."""
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    return f"did you mean {' or '.join(near)}?" if near else f"it has {len(names)} other networks"


def not_there(model: str, weights: str, place: object, error: OSError, remedy: str) -> SddError:
    """Return the error for trained weights that are not in a library's cache and cannot be
    downloaded.

    weights, place: their name, and where they were expected.
    """
    reason = " ".join(str(error).split())
    return SddError(f"model {model!r}: {weights} are not in {place} and cannot be downloaded "
                    f"({reason}); {remedy}")


def refuse_options(model: str, options: Iterable[str], of_the_data: Collection[str]) -> None:
    """Raise SddError if an option sets a value that the data determines."""
    for option in options:
        if option in of_the_data:
            raise SddError(f"model {model!r}: {option} is set from the data; remove this option")


@contextmanager
def options_explained(
    model: str, options: Mapping[str, Any], known: Callable[[], Iterable[str]]
) -> Iterator[None]:
    """Turn errors of a library that makes a network into an SddError that names the unknown option,
    or all options if their values are the problem.

    known: returns the names of the options that the network accepts, as far as they are known.
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
            hint = f"; it has {', '.join(names)}" if names else ""
            raise SddError(f"model {model!r} has no option {found[1]!r}{hint}") from error
        if not options:
            raise
        values = ", ".join(f"{name}={value!r}" for name, value in options.items())
        raise SddError(f"model {model!r} cannot be made with {values}: {type(error).__name__}: "
                       f"{reason}") from error

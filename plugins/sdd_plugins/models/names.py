"""What to say when a library has no network of some name."""

import difflib
from collections.abc import Sequence


def nearest(name: str, names: Sequence[str]) -> str:
    """The names that are like it, as a question, or how many there are to choose from."""
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    return f"did you mean {' or '.join(near)}?" if near else f"it has {len(names)} others"

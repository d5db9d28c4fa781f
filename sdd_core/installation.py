"""What sdd is called where it is installed from, and how to install the rest of it."""

from __future__ import annotations

import json
from importlib.metadata import PackageNotFoundError, distribution

DISTRIBUTION = "sparse-double-descent"
"""The name on the package index, where `sdd` is somebody else's. The command and the entry-point
group are `sdd`, the packages `sdd_core` and `sdd_plugins`."""


def install_hint(extra: str = "") -> str:
    """Return the command that installs what an optional part needs, to end an error message with.

    extra: of `pyproject.toml`, such as `ray`; none: what sdd itself needs.
    """
    extras = f"[{extra}]" if extra else ""
    if _from_checkout():
        return f"pip install -e '.{extras}' in sdd's checkout"
    return f"pip install '{DISTRIBUTION}{extras}'"


def _from_checkout() -> bool:
    """Whether sdd runs from its sources: installed from their folder, editable or not, which is
    what pip writes down of it (PEP 610), or not installed at all."""
    try:
        origin = distribution(DISTRIBUTION).read_text("direct_url.json")
    except PackageNotFoundError:
        return True
    return origin is not None and "dir_info" in json.loads(origin)

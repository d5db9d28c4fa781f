"""The name of the distribution, and how to install its optional parts."""

from __future__ import annotations

import json
from importlib.metadata import PackageNotFoundError, distribution

DISTRIBUTION = "sparse-double-descent"
"""The name on the package index, where `sdd` belongs to another project. The command and the
entry-point group are `sdd`, the packages `sdd_core` and `sdd_plugins`."""


def install_hint(extra: str = "") -> str:
    """Return the command that installs the requirements of an extra, for the end of an error
    message.

    extra: one of `pyproject.toml`, such as `ray`; '': the requirements of sdd itself.
    """
    extras = f"[{extra}]" if extra else ""
    if _from_checkout():
        return f"pip install -e '.{extras}' in sdd's checkout"
    return f"pip install '{DISTRIBUTION}{extras}'"


def _from_checkout() -> bool:
    """Return whether sdd runs from its sources: not installed, or installed from their folder,
    editable or not, which pip records (PEP 610)."""
    try:
        origin = distribution(DISTRIBUTION).read_text("direct_url.json")
    except PackageNotFoundError:
        return True
    return origin is not None and "dir_info" in json.loads(origin)

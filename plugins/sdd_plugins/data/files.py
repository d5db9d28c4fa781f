"""Finds the files of a data set on disk, or downloads them."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Sequence
from http.client import HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory

from sdd_core import SddError

# The folder of Debian's data set packages (dataset-fashion-mnist).
SYSTEM = Path("/usr/share/datasets")


def data_root(root: Path | None) -> Path:
    """Return the folder of data sets: `root` if it is set, else `~/.cache/sdd`."""
    return Path.home() / ".cache" / "sdd" if root is None else root


def locate(
    name: str,
    root: Path | None,
    *,
    folders: Sequence[str],
    complete: Callable[[Path], bool],
    download: Callable[[Path], object],
    hint: str,
) -> Path:
    """Return the folder with the files of data set `name`.

    folders: where to look below the root and below the system's data sets, in this order.
    complete: whether a folder holds all the files.
    download: puts the files into a folder, which becomes the first of `folders`.
    hint: what to do where there is no network.

    Raises SddError if the files are missing and cannot be downloaded.
    """
    places = [base / folder for base in (data_root(root), SYSTEM) for folder in folders]
    found = next((place for place in places if complete(place)), None)
    if found is not None:
        return found
    target = places[0]
    try:
        target.mkdir(parents=True, exist_ok=True)
        # A separate folder: after an interruption no incomplete file is mistaken for a complete
        # one, and two processes do not write to one file.
        with TemporaryDirectory(prefix=".download-", dir=target.parent) as fresh:
            # Standard output belongs to results; some versions of torchvision print there.
            with contextlib.redirect_stdout(sys.stderr):
                download(Path(fresh))
            for file in Path(fresh).iterdir():
                os.replace(file, target / file.name)
    except (OSError, RuntimeError, HTTPException) as error:
        looked = ", ".join(str(place) for place in places)
        reason = " ".join(str(error).split()) or type(error).__name__
        raise SddError(
            f"data {name!r} was not found (looked in {looked}) and could not be downloaded "
            f"({reason}); {hint} {target}, or set --data-root to its folder"
        ) from None
    return target

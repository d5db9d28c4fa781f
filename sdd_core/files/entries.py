"""Folders with the checksums of their files, and what was damaged and set aside."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from sdd_core.files.atomic import link_or_copy, move, new_folder
from sdd_core.files.reading import LARGEST_SETTINGS, exists, is_folder, names_in, read_bytes, sha256

SUMS = "SHA256SUMS"

DENSE_WEIGHTS = Path("levels", "00", "weights.safetensors")
"""The dense network's weights within a run's folder."""


def write_entry(folder: Path, write: Callable[[Path], None]) -> None:
    """Make a folder atomically, with the checksum of every file that `write` puts into it.

    The caller holds the entry's lock: what an earlier attempt left behind is deleted.
    Raises SddError.
    """
    with new_folder(folder) as partial:
        write(partial)
        sums = {file.name: sha256(file) for file in sorted(partial.iterdir())}
        (partial / SUMS).write_text(sums_text(sums))


def damaged_file(folder: Path) -> str | None:
    """The name of the first file in an entry that is missing or not what was written, or None.

    Raises SddError where a file cannot be read, which says nothing about what is in it.
    """
    sums = checksums(folder)
    for name, expected in (sums or {}).items():
        try:
            if sha256(folder / name) != expected:
                return name
        except FileNotFoundError:
            return name
    # A list that lost its end would let files through that nothing vouches for.
    strange = set(names_in(folder)) - {*(sums or {}), SUMS}
    return min(strange, default=None) if sums else SUMS


def checksums(folder: Path) -> dict[str, str] | None:
    """The SHA-256 of every file in an entry, by name; None where the list is missing or damaged.

    Raises SddError where it cannot be read.
    """
    try:
        text = read_bytes(folder / SUMS, LARGEST_SETTINGS).decode()
    except (FileNotFoundError, UnicodeDecodeError):
        return None
    found = {name: sum_ for sum_, name in re.findall(r"([0-9a-f]{64})  (\w[\w.-]*)\n", text)}
    # Byte by byte as it is written: nothing between the lines, each name once.
    return found if found and text == sums_text(found) else None


def sums_text(sums: Mapping[str, str]) -> str:
    """The list of checksums of an entry, of the SHA-256 of each file by its name."""
    return "".join(f"{sum_}  {name}\n" for name, sum_ in sums.items())


def level_folder(store: Path, key: str) -> Path:
    """Where a level is in the store in a folder, or would be."""
    return store / ".shared" / "levels" / key


def level_is_whole(store: Path, key: str) -> bool:
    """Whether a level is in the store as it was written. Changes nothing, not even a damaged
    one, and makes no store where there is none. Raises SddError where it cannot be read."""
    folder = level_folder(store, key)
    return is_folder(folder) and damaged_file(folder) is None


def set_aside(path: Path, store: Path, *, stays: bool = False) -> Path:
    """Move something damaged into `<store>/.shared/damaged`, where nothing is ever deleted, and
    return its new path. Raises SddError.

    stays: keep `path` too, as a link to the moved file, until it is replaced atomically.
    """
    below = path.relative_to(store)
    place = damaged_folder(store).joinpath(*(part for part in below.parts if part != ".shared"))
    target, number = place, 1
    while exists(target):
        number += 1
        target = place.with_name(f"{place.name}.{number}")
    (link_or_copy if stays else move)(path, target)
    return target


def damaged_folder(store: Path) -> Path:
    """Where a store has what was found damaged and set aside."""
    return store / ".shared" / "damaged"


def damaged_entries(store: Path) -> list[Path]:
    """What was found damaged in a store and set aside: levels, rewind points, files of runs."""
    folder = damaged_folder(store)
    return [folder / part / name for part in names_in(folder) for name in names_in(folder / part)]

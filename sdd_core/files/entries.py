"""Write and check folders with the checksums of their files, and set damaged files aside."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from sdd_core.files.atomic import link_or_copy, move, new_folder
from sdd_core.files.reading import LARGEST_SETTINGS, exists, is_folder, names_in, read_bytes, sha256

SUMS = "SHA256SUMS"

DENSE_WEIGHTS = Path("levels", "00", "weights.safetensors")
"""The dense network's weights within a run's folder."""

TORCH_FILES = {".pt", ".pth", ".ckpt", ".bin", ".tar"}
"""Endings of files that torch.save writes."""

WEIGHT_FILES = {".safetensors", *TORCH_FILES}
"""Endings of files of weights."""


def pretrained_file(path: str) -> Path:
    """Return the file of weights that a path names: a file of weights itself, or the dense
    network's weights in the folder of a run."""
    place = Path(path).expanduser()
    is_file = place.suffix.lower() in WEIGHT_FILES and not place.is_dir()
    return place if is_file or place.is_file() else place / DENSE_WEIGHTS


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
    """Return the name of the first missing or changed file in an entry, or None.

    Raises SddError where a file cannot be read: it may be intact.
    """
    sums = checksums(folder)
    for name, expected in (sums or {}).items():
        try:
            if sha256(folder / name) != expected:
                return name
        except FileNotFoundError:
            return name
    # If the list lost its end, some files would have no checksum.
    strange = set(names_in(folder)) - {*(sums or {}), SUMS}
    return min(strange, default=None) if sums else SUMS


def checksums(folder: Path) -> dict[str, str] | None:
    """Return the SHA-256 of every file in an entry, by name; None if the list is missing or
    damaged. Raises SddError where it cannot be read."""
    try:
        text = read_bytes(folder / SUMS, LARGEST_SETTINGS).decode()
    except (FileNotFoundError, UnicodeDecodeError):
        return None
    found = {name: sum_ for sum_, name in re.findall(r"([0-9a-f]{64})  (\w[\w.-]*)\n", text)}
    # Exactly the bytes that would be written: nothing between the lines, each name once.
    return found if found and text == sums_text(found) else None


def sums_text(sums: Mapping[str, str]) -> str:
    """Return the text of an entry's list of checksums, given the SHA-256 of each file by name."""
    return "".join(f"{sum_}  {name}\n" for name, sum_ in sums.items())


def level_folder(store: Path, key: str) -> Path:
    """Return the folder of a level in a store, whether it exists or not."""
    return store / ".shared" / "levels" / key


def level_is_whole(store: Path, key: str) -> bool:
    """Return whether a level is in the store, undamaged. Change nothing: a damaged level stays, and
    no store is created. Raises SddError where it cannot be read."""
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
    """Return the folder of a store for damaged files that were set aside."""
    return store / ".shared" / "damaged"


def damaged_entries(store: Path) -> list[Path]:
    """Return the paths of what was set aside as damaged: levels, rewind points, files of runs."""
    folder = damaged_folder(store)
    return [folder / part / name for part in names_in(folder) for name in names_in(folder / part)]

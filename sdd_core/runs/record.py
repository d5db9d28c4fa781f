"""`record.json`: what a run is, what it runs on, and what its other files have to be.

Its last member is the checksum of the others. A record from before there were checksums has
neither that nor the members that came with it; it is believed, and written anew with them when
the run goes on.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sdd_core.errors import SddError, format_error
from sdd_core.experiment.keys import FORMAT
from sdd_core.experiment.settings import parse_toml
from sdd_core.files.atomic import write_atomic
from sdd_core.files.reading import (
    LARGEST_SETTINGS,
    Damaged,
    read_bytes,
    read_sealed,
    seal,
)

RECORD = "record.json"
EXPERIMENT = "experiment.toml"


class Strict(BaseModel):
    """What a file may hold, and nothing else: no text for a number, no unknown member."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


Count = Annotated[int, Field(ge=1, lt=2**63)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Origin(Strict):
    """Where a plugin comes from."""

    distribution: str
    version: str


class Source(Strict):
    """A module that a run has imported: its file, and the SHA-256 of its source."""

    file: str
    sha256: Sha256


class Sizes(Strict):
    """How many examples a run trains on and is tested on, and of how many classes.

    classes, changed_labels: None in records from before they were recorded.
    """

    train_examples: Count
    test_examples: Count
    classes: Count | None = None
    changed_labels: int | None = Field(default=None, ge=0)


class Record(Strict):
    """What a run's folder says about the run.

    name: of the run; what is in its rows counts for no other one. experiment: the SHA-256 of
    `experiment.toml`, or, while that is being changed, of what it was and will be. levels: as many
    as are wanted. modules: the user's own that the run has imported. noise: the
    label noise and its options.
    """

    format: int
    name: str = ""
    experiment: list[Sha256] = []
    levels: int | None = Field(default=None, ge=0, le=10_000)
    device: str
    python: str
    platform: str
    versions: dict[str, str]
    plugins: dict[str, Origin | dict[str, Origin]]
    modules: dict[str, Source] = {}
    data: Sizes
    noise: dict[str, Any] = {}

    @property
    def with_checksums(self) -> bool:
        """Whether the run was written, or went on, since there are checksums."""
        return bool(self.experiment)


def read_record(folder: Path) -> Record:
    """Return the record in a run's folder. Raises Damaged when it is missing or not what was
    written, and SddError when it is of another version or cannot be read."""
    file = folder / RECORD
    try:
        return _read(folder)
    except FileNotFoundError:
        reason = "it is missing"
    except Damaged as error:
        reason = str(error)
    raise Damaged(f"{file} is missing or damaged ({reason}); `sdd resume {folder}` writes it again")


def write_record(folder: Path, record: Record) -> None:
    """Write a run's record with its checksum. The caller holds a lock. Raises SddError."""
    content = seal(record.model_dump(mode="json"), RECORD, indent=1)
    write_atomic(folder / RECORD, f"{content}\n", locked=True)


def read_experiment(folder: Path, record: Record | None) -> bytes:
    """Return what is in the experiment file of a run's folder. Raises Damaged when it is missing or
    not what the run was carried out with, and SddError when it cannot be read."""
    file = folder / EXPERIMENT
    try:
        content = read_bytes(file, LARGEST_SETTINGS)
    except FileNotFoundError:
        raise Damaged(f"{file} is missing; `sdd run` with the run's settings writes it "
                      "again") from None
    if record and record.with_checksums and digest_of(content) not in record.experiment:
        raise Damaged(f"{file} is not what the run was carried out with (its checksum differs); "
                      "bring that back, or carry out what it says now as a run of its own, "
                      f"`sdd run {file}`")
    return content


def wanted_levels(folder: Path, record: Record | None, content: bytes) -> int:
    """Return how many levels a run is to have, by its record, or, where that does not say so, by
    its experiment file. Raises SddError."""
    if record is not None and record.levels is not None:
        return record.levels
    levels = parse_toml(content, folder / EXPERIMENT).get("levels")
    if not isinstance(levels, int) or not 0 <= levels <= 10_000:
        raise SddError(f"{folder / EXPERIMENT} does not say how many levels the run has")
    return levels


def digest_of(content: bytes | str) -> str:
    """Return the hexadecimal SHA-256 of a text."""
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()


def fault(error: ValueError | RecursionError) -> str:
    """Return what is wrong with a file's content in a few words, the first thing of several."""
    if isinstance(error, RecursionError):
        return "it is nested too deep"
    if not isinstance(error, ValidationError):
        return format_error(error)
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"]))
    return f"{where and where + ': '}{first['msg'][:1].lower()}{first['msg'][1:]}"


def _read(folder: Path) -> Record:
    found, sealed = read_sealed(folder / RECORD, RECORD, LARGEST_SETTINGS)
    if "experiment" in found and not sealed:
        raise Damaged("it has no checksum")
    version = found.get("format")
    if isinstance(version, int) and version != FORMAT:
        raise SddError(f"{folder} has format {version}, this version of sdd reads {FORMAT}; use "
                       "another --store, or the version of sdd that made it")
    try:
        return Record.model_validate(found)
    except (ValueError, RecursionError) as error:
        raise Damaged(fault(error)) from None

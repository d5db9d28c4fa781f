"""Read and write `record.json`: name, versions, device, data sizes and checksums of a run.

Its last member is the checksum of the others. A record from before the introduction of checksums
has neither that member nor those added with it. It is accepted, and rewritten with them when the
run is resumed.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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

if TYPE_CHECKING:
    from sdd_core.data.dataset import Dataset

RECORD = "record.json"
EXPERIMENT = "experiment.toml"


class Strict(BaseModel):
    """The exact content of a file: no text for a number, no unknown member."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


Count = Annotated[int, Field(ge=1, lt=2**63)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Origin(Strict):
    """The distribution of a plugin."""

    distribution: str
    version: str


class Source(Strict):
    """A module that a run imported: its file, and the SHA-256 of its source."""

    file: str
    sha256: Sha256


class Sizes(Strict):
    """The numbers of training and test examples and of classes.

    guessing: the share of the most frequent class in the test set. classes, changed_labels,
    guessing: None in older records.
    """

    train_examples: Count
    test_examples: Count
    classes: Count | None = None
    changed_labels: int | None = Field(default=None, ge=0)
    guessing: float | None = Field(default=None, ge=0, le=1)

    @classmethod
    def of(cls, data: Dataset, changed_labels: int) -> Sizes:
        """Return the sizes of a data set. changed_labels: the number of training labels that the
        label noise changed."""
        return cls(train_examples=len(data.train), test_examples=len(data.test),
                   classes=int(data.num_classes), changed_labels=changed_labels,
                   guessing=int(data.test.labels.bincount().max()) / len(data.test))


class Inputs(Strict):
    """The inputs of the network: their shape without the batch, and how images become inputs,
    `(images / scale - mean) / std` by channel; without mean and std they are only divided."""

    shape: list[Count]
    scale: float
    mean: list[float] = []
    std: list[float] = []

    @classmethod
    def of(cls, data: Dataset) -> Inputs:
        """Return the inputs for a data set."""
        unchanged = data.train.images.is_floating_point() and not data.mean
        scale = 1.0 if unchanged else float(data.scale)
        mean, std = (list(map(float, values)) for values in (data.mean, data.std))
        return cls(shape=list(data.input_shape), scale=scale, mean=mean, std=std)


class Record(Strict):
    """The record of a run.

    name: of the run; its rows are valid for no other run. experiment: the SHA-256 of
    `experiment.toml`, or, while that is being replaced, of the old and the new one. levels: number
    of levels that the run shall have. modules: the user's own modules that the run imported.
    noise: the label noise and its options. inputs: None in older records.
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
    inputs: Inputs | None = None

    @property
    def with_checksums(self) -> bool:
        """Whether the run was written or resumed after the introduction of checksums."""
        return bool(self.experiment)


def read_record(folder: Path) -> Record:
    """Return the record in a run's folder. Raises Damaged when it is missing or damaged, and
    SddError when it has another version or cannot be read."""
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
    """Return the content of the experiment file in a run's folder. Raises Damaged when it is
    missing or not the experiment of the run, and SddError when it cannot be read."""
    file = folder / EXPERIMENT
    try:
        content = read_bytes(file, LARGEST_SETTINGS)
    except FileNotFoundError:
        raise Damaged(f"{file} is missing; write it again with `sdd run` and the run's "
                      "settings") from None
    if record and record.with_checksums and digest_of(content) not in record.experiment:
        raise Damaged(f"{file} has changed since the run was made (its checksum differs); restore "
                      f"it, or start a new run with `sdd run {file}`")
    return content


def wanted_levels(folder: Path, record: Record | None, content: bytes) -> int:
    """Return how many levels a run shall have, according to its record, or, if that has no number,
    to its experiment file. Raises SddError when the file has none either."""
    if record is not None and record.levels is not None:
        return record.levels
    levels = parse_toml(content, folder / EXPERIMENT).get("levels")
    if not isinstance(levels, int) or not 0 <= levels <= 10_000:
        raise SddError(f"{folder / EXPERIMENT} has no valid number of levels; restore the file")
    return levels


def digest_of(content: bytes | str) -> str:
    """Return the hexadecimal SHA-256 of a text."""
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()


def fault(error: ValueError | RecursionError) -> str:
    """Return the first fault of a file's content in a few words."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
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
        raise SddError(f"{folder} has format {version}, but this version of sdd reads {FORMAT}; "
                       "use another --store, or the version of sdd that made it")
    try:
        return Record.model_validate(found)
    except (ValueError, RecursionError) as error:
        raise Damaged(fault(error)) from None

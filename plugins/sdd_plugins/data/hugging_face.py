"""Data sets of Hugging Face's library, on this machine's disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field

from sdd_core import Augmentation, Dataset, DataSource, SddError, install_hint


class HuggingFace(DataSource):
    """A data set that `datasets` saved with `save_to_disk`, as `hf:FOLDER`.

    Images are decoded once and must have one size. Needs the extra `hf`.
    """

    name = "hf"
    shorthand = "path"
    source = "Lhoest et al., 2021, arXiv:2109.02846"

    path: str = Field(
        min_length=1,
        description="folder of the data; a relative path starts at --data-root, or at the current "
        "folder if that is not set",
    )
    train: str = Field("train", description="split with the training examples")
    test: str = Field("test", description="split with the test examples")
    image: str = Field("image", description="column with the images")
    label: str = Field("label", description="column with the labels")
    pad: int = Field(0, ge=0, description="augmentation: maximum shift in pixels")
    flip: bool = Field(False, description="augmentation: flip half of the images left to right")

    def load(self, root: Path | None) -> Dataset:
        """Return the data; every image is decoded once. Raises SddError if it cannot be read."""
        try:
            import datasets  # noqa: PLC0415 (takes seconds, and may be missing)
        except ImportError:
            raise SddError(f"data 'hf:{self.path}' needs datasets, which is not installed; "
                           f"{install_hint('hf')}") from None
        folder = (root or Path()) / Path(self.path).expanduser()
        try:
            found = datasets.load_from_disk(str(folder))
        except (OSError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise SddError(f"data 'hf:{self.path}': {folder} cannot be read ({reason}); expected "
                           "a folder written by save_to_disk of a DatasetDict") from None
        augmentation = Augmentation(self.pad, self.flip) if self.pad or self.flip else None
        splits = (self._split(found, self.train), self._split(found, self.test))
        return Dataset.of(*splits, name=f"hf:{self.path}", augmentation=augmentation)

    def _split(self, found: Any, name: str) -> _Rows:
        if name not in found or not isinstance(found, dict):
            there = ", ".join(found) if isinstance(found, dict) else "one split without a name"
            raise SddError(f"data 'hf:{self.path}' has no split {name!r}; it has {there}")
        rows = found[name]
        for option, column in (("image", self.image), ("label", self.label)):
            if column not in rows.column_names:
                raise SddError(f"data 'hf:{self.path}' has no column {column!r}; set data.{option} "
                               f"to one of {', '.join(rows.column_names)}")
        if getattr(rows.features[self.label], "dtype", "") in {"string", "large_string"}:
            raise SddError(f"data 'hf:{self.path}' has text in its column {self.label!r}; number "
                           f"the classes with class_encode_column({self.label!r}) before saving it")
        return _Rows(rows.select_columns([self.image, self.label]), self.image, self.label)


class _Rows:
    """The rows of a table as pairs of image and label."""

    def __init__(self, rows: Any, image: str, label: str) -> None:
        self._rows, self._image, self._label = rows, image, label

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        row = self._rows[index]
        return row[self._image], row[self._label]

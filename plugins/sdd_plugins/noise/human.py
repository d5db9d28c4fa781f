"""Label noise from human annotations."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor

from sdd_core import Dataset, LabelNoise, SddError, check_unchanged, with_checksum

LEAST_AGREEMENT = 0.5
"""Minimum agreement with the true labels. Human labels agree more (60 % of CIFAR-10N's worst ones);
labels of other images, or in another order, agree less."""


class Human(LabelNoise):
    """Training labels from a file, such as the human annotations of CIFAR-N.

    The file has one label for each training image, in the data set's order: a `.npy` array `[N]` of
    integers, a `.txt` file with one label per line, or a `.csv` file with a header and one column
    per annotator. CIFAR-N is published as pickles. Reading a pickle can run arbitrary code, so this
    plugin does not read them. Convert one that you trust; its order is that of torchvision's CIFAR
    and of `cifar10` and `cifar100` here:

        import numpy, torch
        labels = torch.load("CIFAR-10_human.pt", weights_only=False)
        for name in ("aggre_label", "worse_label", "random_label1"):
            numpy.save(f"{name}.npy", numpy.asarray(labels[name]).astype("int64"))

    With the same seed a higher rate keeps the labels of a lower rate and adds others.
    """

    name = "human"
    source = "Wei et al. (2022), arXiv 2110.12088 (CIFAR-10N and CIFAR-100N)"

    file: str = Field(min_length=1, description="path of the .npy, .txt or .csv file")
    column: str | None = Field(
        default=None, description="column of a .csv file; not needed if there is only one"
    )
    rate: float = Field(
        default=1.0, ge=0, le=1, description="fraction of the training labels to take from the file"
    )
    checksum: str | None = Field(
        default=None, description="SHA-256 of the file; default: that of its current content"
    )

    @model_validator(mode="before")
    @classmethod
    def _with_checksum(cls, options: Any) -> Any:
        file = options.get("file", "") if isinstance(options, Mapping) else ""
        return with_checksum(options, "checksum", Path(str(file)).expanduser())

    def corrupt(self, labels: Tensor, data: Dataset, generator: torch.Generator) -> Tensor:
        """Return noisy labels. Raises SddError if the file is missing, damaged or changed, or does
        not fit the data."""
        annotations = torch.from_numpy(self._read())
        if len(annotations) != len(labels):
            raise SddError(f"noise.file: {self.file} has {len(annotations)} labels, but "
                           f"{data.name!r} has {len(labels)} training images; use a file with one "
                           "label for each")
        low, high = int(annotations.min()), int(annotations.max())
        if low < 0 or high >= data.num_classes:
            raise SddError(f"noise.file: {self.file} has labels from {low} to {high}; those of "
                           f"{data.name!r} are 0 to {data.num_classes - 1}")
        agreement = (annotations == labels).double().mean().item()
        if agreement < LEAST_AGREEMENT:
            raise SddError(f"noise.file: {self.file} agrees with only {agreement:.0%} of the true "
                           f"labels of {data.name!r}; its labels are of other images or in another "
                           "order")
        order = torch.randperm(len(labels), generator=generator)
        chosen = order[: round(self.rate * len(labels))]
        noisy = labels.clone()
        noisy[chosen] = annotations[chosen]
        return noisy

    def _read(self) -> np.ndarray:
        """Return the labels in the file, int64 `[N]`."""
        path = Path(self.file).expanduser()
        readers = {".npy": self._npy, ".txt": self._txt, ".csv": self._csv}
        if path.suffix not in readers:
            raise SddError(f"noise.file: {self.file} is not a .npy, .txt or .csv file; convert "
                           "pickles (.pt) as `sdd show human` explains")
        try:
            check_unchanged(path, self.checksum, f"noise.file: {self.file}", "noise.checksum")
            found = readers[path.suffix](path)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or " ".join(str(error).split())
            raise SddError(f"noise.file: cannot read {self.file}: {reason}") from None
        if found.ndim != 1 or not len(found) or not np.issubdtype(found.dtype, np.integer):
            raise SddError(f"noise.file: {self.file} holds {found.dtype} of shape "
                           f"{list(found.shape)}; expected one integer for each training image")
        return found.astype(np.int64)

    def _npy(self, path: Path) -> np.ndarray:
        return np.load(path, allow_pickle=False)

    def _txt(self, path: Path) -> np.ndarray:
        return np.array([int(word) for word in path.read_text(encoding="utf-8").split()])

    def _csv(self, path: Path) -> np.ndarray:
        with path.open(newline="", encoding="utf-8") as file:
            rows = csv.DictReader(file)
            columns = list(rows.fieldnames or ())
            column = self.column or (columns[0] if len(columns) == 1 else None)
            if column not in columns:
                fault = f"has no column {column!r}" if column else "has several columns"
                raise SddError(f"noise.column: {self.file} {fault}; choose one of "
                               f"{', '.join(columns)}")
            return np.array([int(row[column] or "") for row in rows])

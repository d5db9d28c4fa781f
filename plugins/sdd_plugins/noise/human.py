"""Labels that people gave."""

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
"""With the true labels. People are right more often (of CIFAR-10N's worst labels 60 % are); labels
that belong to other images, or are in another order, are not."""


class Human(LabelNoise):
    """Training labels out of a file, such as the human annotations of CIFAR-N.

    A label for each training image, in the data set's order: a `.npy` array `[N]` of integers, a
    `.txt` with a label a line, or a `.csv` with a header and a column for each annotator. CIFAR-N
    is published as pickles, which run what code they like when they are read and are therefore
    not read here. Convert one that you trust, whose order is that of torchvision's CIFAR and of
    `cifar10` and `cifar100` here:

        import numpy, torch
        labels = torch.load("CIFAR-10_human.pt", weights_only=False)
        for name in ("aggre_label", "worse_label", "random_label1"):
            numpy.save(f"{name}.npy", numpy.asarray(labels[name]).astype("int64"))

    With the same seed a higher rate keeps the labels of a lower one and adds others.
    """

    name = "human"
    source = "Wei et al. (2022), arXiv 2110.12088 (CIFAR-10N and CIFAR-100N)"

    file: str = Field(min_length=1, description="the .npy, .txt or .csv file")
    column: str | None = Field(
        default=None, description="of a .csv file; not needed where it has only one"
    )
    rate: float = Field(
        default=1.0, ge=0, le=1, description="fraction of the training labels that the file gives"
    )
    checksum: str | None = Field(
        default=None, description="SHA-256 of the file; not given: of what it holds now"
    )

    @model_validator(mode="before")
    @classmethod
    def _with_checksum(cls, options: Any) -> Any:
        file = options.get("file", "") if isinstance(options, Mapping) else ""
        return with_checksum(options, "checksum", Path(str(file)).expanduser())

    def corrupt(self, labels: Tensor, data: Dataset, generator: torch.Generator) -> Tensor:
        """Raises SddError: the file is missing, damaged, has changed, or does not fit the data."""
        given = torch.from_numpy(self._read())
        if len(given) != len(labels):
            raise SddError(f"noise.file: {self.file} has {len(given)} labels, but {data.name!r} "
                           f"has {len(labels)} training images; give one label for each")
        low, high = int(given.min()), int(given.max())
        if low < 0 or high >= data.num_classes:
            raise SddError(f"noise.file: {self.file} has labels from {low} to {high}; those of "
                           f"{data.name!r} are 0 to {data.num_classes - 1}")
        agreement = (given == labels).double().mean().item()
        if agreement < LEAST_AGREEMENT:
            raise SddError(f"noise.file: {self.file} agrees with only {agreement:.0%} of the true "
                           f"labels of {data.name!r}; its labels are of other images or in another "
                           "order")
        order = torch.randperm(len(labels), generator=generator)
        chosen = order[: round(self.rate * len(labels))]
        noisy = labels.clone()
        noisy[chosen] = given[chosen]
        return noisy

    def _read(self) -> np.ndarray:
        """int64 `[N]`."""
        path = Path(self.file).expanduser()
        readers = {".npy": self._npy, ".txt": self._txt, ".csv": self._csv}
        if path.suffix not in readers:
            raise SddError(f"noise.file: {self.file} is no .npy, .txt or .csv file; pickles (.pt) "
                           "have to be converted, `sdd show human` says how")
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
                asked = f"has no column {column!r}" if column else "has several columns"
                raise SddError(f"noise.column: {self.file} {asked}; choose one of "
                               f"{', '.join(columns)}")
            return np.array([int(row[column] or "") for row in rows])

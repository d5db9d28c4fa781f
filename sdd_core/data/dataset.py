"""Data sets: images and labels in memory, as tensors."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any

import torch

from sdd_core.data.split import Split, check_labels_fit, check_tensors, check_values
from sdd_core.errors import SddError
from sdd_core.output.brief import brief

MOST_CLASSES = 1_000_000
"""The largest number of classes. A network has an output for each class, so labels such as dates or
the numbers of users would need more memory than there is."""


@dataclass(frozen=True)
class Augmentation:
    """Random augmentation of training batches: a crop after padding with `pad` zero pixels on every
    side, and a left-right flip of half of the images."""

    pad: int = 0
    flip: bool = False


@dataclass(frozen=True)
class Dataset:
    """The data of an experiment.

    The network's inputs are `(images / scale - mean) / std`, with `mean` and `std` per channel;
    float images are not changed if `mean` and `std` are empty.

    confusions: class -> similar class (for asymmetric noise).
    superclasses: the number of each class's superclass, if there are any.
    """

    name: str
    train: Split
    test: Split
    num_classes: int
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    scale: float = 255.0
    augmentation: Augmentation | None = None
    confusions: Mapping[int, int] = field(default_factory=dict)
    superclasses: tuple[int, ...] = ()

    def __repr__(self) -> str:
        return (f"<Dataset {brief(self.name)}: {self.num_classes} classes, train {self.train}, "
                f"test {self.test}>")

    @classmethod
    def of(cls, train: Any, test: Any, *, name: str = "own", **fields: Any) -> "Dataset":
        """Return a data set from training and test data.

        train, test: a pair of images and labels (tensors or arrays; images `[N, C, H, W]` as
            bytes, or floats of any shape `[N, ...]`), or a map-style torch Dataset, which is read
            into memory once. Its random transforms are applied once, not per epoch, so use
            `augmentation` for crops and flips.
        fields: the other fields; `num_classes` (default: the largest label plus one).

        Raises SddError, see `check`; also if labels are missing, images have several shapes, or a
        length is wrong.
        """
        from sdd_core.data.convert import split_of  # noqa: PLC0415 (it imports this module)

        splits = {
            part: split_of(source, f"data {name!r}: the {part} split")
            for part, source in (("training", train), ("test", test))
        }
        labels = [s.labels for s in splits.values()
                  if s.labels.numel() and not s.labels.is_floating_point()]
        largest = max((int(some.max()) for some in labels), default=0)
        fields.setdefault("num_classes", largest + 1)
        return cls(name, splits["training"], splits["test"], **fields).check()

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one example, `(C, H, W)` for images."""
        return tuple(self.train.images.shape[1:])

    def check(self) -> "Dataset":
        """Return itself, if it can be trained on.

        Raises SddError if a split is empty or has other values than dense tensors, images and
        labels differ in number, images are neither bytes nor floats or not finite, labels are not
        integers or outside the classes, there are more than a million classes, all training labels
        are equal, train and test images differ in shape, or `mean` and `std` do not fit the images.
        """
        if not isinstance(self.num_classes, Integral) or isinstance(self.num_classes, bool):
            raise SddError(f"data {self.name!r} has num_classes {self.num_classes!r}; expected a "
                           "whole number")
        if not isinstance(self.augmentation, Augmentation | None):
            raise SddError(f"data {self.name!r} has the augmentation {self.augmentation!r}; "
                           "expected a sdd_core.Augmentation, or None")
        for part, numbers in (("mean", self.mean), ("std", self.std), ("scale", (self.scale,))):
            if not isinstance(numbers, tuple | list) or not all(
                isinstance(one, Real) and not isinstance(one, bool) for one in numbers
            ):
                raise SddError(f"data {self.name!r} has the {part} {brief(getattr(self, part))}; "
                               "expected numbers, as a tuple for mean and std")
        for part, split in (("training", self.train), ("test", self.test)):
            where = f"data {self.name!r}: the {part} split"
            check_tensors(split, where)
            check_labels_fit(split, where)
            check_values(split, where, self.num_classes)
        self._check_together()
        return self

    def _check_together(self) -> None:
        """Raise SddError unless the splits, the classes, `mean` and `std` fit each other."""
        if self.num_classes > MOST_CLASSES:
            values = int(torch.cat([self.train.labels, self.test.labels]).unique().numel())
            raise SddError(
                f"data {self.name!r} has {self.num_classes:,} classes; at most {MOST_CLASSES:,} "
                f"are possible, with labels from 0 on without gaps: its labels have {values:,} "
                f"different values, so number them from 0 to {values - 1:,}"
            )
        if self.train.images.shape[1:] != self.test.images.shape[1:]:
            raise SddError(
                f"data {self.name!r}: training images are {list(self.train.images.shape[1:])}, "
                f"test images {list(self.test.images.shape[1:])}; they must have one shape"
            )
        only = self.train.true_labels[0]
        if self.num_classes < 2 or bool((self.train.true_labels == only).all()):
            raise SddError(
                f"data {self.name!r} has one class; at least two are needed (all training labels "
                f"are {int(only)})"
            )
        channels = self.train.images.shape[1] if self.train.images.dim() > 1 else 1
        if {len(self.mean), len(self.std)} not in ({0}, {channels}):
            raise SddError(
                f"data {self.name!r} has {len(self.mean)} mean(s) and {len(self.std)} standard "
                f"deviation(s) for images of {channels} channel(s); give one of each for each "
                "channel, or none"
            )
        if not all(std > 0 for std in self.std):
            raise SddError(
                f"data {self.name!r} has standard deviations {list(self.std)}; they must be "
                "above 0"
            )

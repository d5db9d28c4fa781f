"""Images and labels that live in memory as tensors."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Integral
from typing import Any

import torch
from torch import Tensor

from sdd_core.errors import SddError
from sdd_core.output.brief import brief


def tensor_fault(tensor: Tensor) -> str:
    """Return what keeps a tensor from being computed with as any other, and what to do about it;
    '' if nothing does."""
    if tensor.is_nested:
        return "a nested tensor; pad its parts to one shape"
    if tensor.layout != torch.strided:
        return "a sparse tensor; hand over its .to_dense()"
    if tensor.is_meta:
        return "a tensor on the device 'meta'; make it on the CPU, where it holds numbers"
    if tensor.is_quantized:
        return "a quantized tensor; hand over its .dequantize()"
    return ""


@dataclass(frozen=True)
class Split:
    """Examples and their labels.

    images: uint8 `[N, C, H, W]`, or float32 of any shape `[N, ...]`.
    labels: int64 `[N]`, the labels that training sees.
    true_labels: int64 `[N]`, the labels before noise; the same tensor where there is none.
    """

    images: Tensor
    labels: Tensor
    true_labels: Tensor = field(default=None)  # type: ignore[assignment]

    def __post_init__(self) -> None:
        if self.true_labels is None:
            object.__setattr__(self, "true_labels", self.labels)

    def __repr__(self) -> str:
        parts = (self.images, self.labels, self.true_labels)
        if not all(isinstance(part, Tensor) for part in parts):  # refused by `check`
            return f"<Split of {', '.join(type(part).__name__ for part in parts)}>"
        wrong = int(self.mislabelled.sum()) if len(self.labels) == len(self.true_labels) else 0
        shape = "x".join(map(str, self.images.shape[1:])) or "single numbers"
        return (f"<Split of {len(self):,} examples, {shape}, {self.images.dtype}"
                f"{f', {wrong:,} mislabelled' * bool(wrong)}>")

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def mislabelled(self) -> Tensor:
        """bool `[N]`: where noise changed the label."""
        return self.labels != self.true_labels


@dataclass(frozen=True)
class Augmentation:
    """What happens to a training batch: a random crop after padding with zeros by `pad` pixels on
    every side, and a left-right flip of half of the images."""

    pad: int = 0
    flip: bool = False


@dataclass(frozen=True)
class Dataset:
    """Everything an experiment knows about its data.

    A network sees `(images / scale - mean) / std`, with `mean` and `std` per channel; float images
    are taken as they are when `mean` and `std` are empty.

    confusions: class -> the class that annotators take it for (asymmetric noise).
    superclasses: for every class the number of its superclass, where there are any.
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
        """A data set out of training and test data in any form.

        train, test: a pair of images and labels (tensors or arrays; images `[N, C, H, W]` as
            bytes, or floats of any shape `[N, ...]`), or a map-style torch Dataset, which is read
            into memory once, transforms included: what a transform draws at random stays as it
            was drawn, so leave crops and flips to `augmentation`.
        fields: the other fields; `num_classes` is one more than the largest label if not given.

        Raises SddError: see `check`; no labels, images of several shapes, a length that is wrong.
        """
        from sdd_core.data.convert import split_of  # noqa: PLC0415 (it imports this module)

        splits = {
            part: split_of(source, f"data {name!r}: the {part} split")
            for part, source in (("training", train), ("test", test))
        }
        labels = [s.labels for s in splits.values() if s.labels.numel()]
        largest = max((int(some.max()) for some in labels), default=0)
        fields.setdefault("num_classes", largest + 1)
        return cls(name, splits["training"], splits["test"], **fields).check()

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one example, `(C, H, W)` for images."""
        return tuple(self.train.images.shape[1:])

    def check(self) -> "Dataset":
        """Itself, if it can be trained on.

        Raises SddError: a split has something else than dense tensors, is empty, images and
        labels differ in number, images are neither bytes nor floats or not finite, labels are not
        integers or lie outside the classes, all training labels are the same, train and test
        images differ in shape, `mean` and `std` do not fit the images.
        """
        if not isinstance(self.num_classes, Integral) or isinstance(self.num_classes, bool):
            raise SddError(f"data {self.name!r} has num_classes {self.num_classes!r}; expected a "
                           "whole number")
        if not isinstance(self.augmentation, Augmentation | None):
            raise SddError(f"data {self.name!r} has the augmentation {self.augmentation!r}; "
                           "expected a sdd_core.Augmentation, or None")
        for part, split in (("training", self.train), ("test", self.test)):
            where = f"data {self.name!r}: the {part} split"
            _check_tensors(split, where)
            _check_labels_fit(split, where)
            _check_values(split, where, self.num_classes)
        self._check_together()
        return self

    def _check_together(self) -> None:
        """Raises SddError unless the splits, the classes, `mean` and `std` fit one another."""
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


def _check_tensors(split: Split, where: str) -> None:
    """Raises SddError unless a split holds tensors with numbers in them."""
    if not isinstance(split, Split):
        raise SddError(f"{where} is {type(split).__name__}; expected a sdd_core.Split, as "
                       "sdd_core.Dataset.of makes it")
    for part in ("images", "labels", "true_labels"):
        tensor, name = getattr(split, part), part.replace("_", " ")
        if not isinstance(tensor, Tensor):
            raise SddError(f"{where} has {type(tensor).__name__} for {name}; expected a "
                           "torch.Tensor, as sdd_core.Dataset.of makes it of arrays and lists")
        if fault := tensor_fault(tensor):
            raise SddError(f"{where} has for {name} {fault}")
        if tensor.dim() == 0:
            raise SddError(f"{where} has {name} without dimensions; expected one entry for each "
                           "example")


def _check_labels_fit(split: Split, where: str) -> None:
    """Raises SddError unless a split has examples, of types that can be computed with, and a label
    for each."""
    images, labels, true = split.images, split.labels, split.true_labels
    if len(labels) == 0:
        raise SddError(f"{where} is empty; it needs at least one example")
    if len(images) != len(labels):
        raise SddError(
            f"{where} has {len(images)} images but {len(labels)} labels; give one label for each "
            "image"
        )
    if images.dtype != torch.uint8 and not images.is_floating_point():
        raise SddError(
            f"{where} has images of type {images.dtype}; expected bytes (torch.uint8) or floats"
        )
    if labels.dtype != torch.int64 or labels.dim() != 1:
        raise SddError(
            f"{where} has labels of type {labels.dtype} and shape {list(labels.shape)}; "
            "expected one whole number (torch.int64) for each image"
        )
    if true.dtype != torch.int64 or true.shape != labels.shape:
        raise SddError(
            f"{where} has true labels of type {true.dtype} and shape {list(true.shape)}; "
            f"expected torch.int64 and {list(labels.shape)}, as its labels have"
        )


def _check_values(split: Split, where: str, num_classes: int) -> None:
    """Raises SddError unless a split's images are finite and its labels lie within the classes."""
    images = split.images
    if images.is_floating_point():
        finite = images.reshape(len(images), -1).isfinite().all(1)
        if not finite.all():
            raise SddError(
                f"{where} has {int((~finite).sum())} example(s) with values that are not "
                f"finite, the first is number {int(finite.int().argmin())}; take them out"
            )
    for kind, some in (("labels", split.labels), ("true labels", split.true_labels)):
        low, high = int(some.min()), int(some.max())
        if low < 0 or high >= num_classes:
            raise SddError(
                f"{where} has {kind} from {low} to {high}; with {num_classes} classes "
                f"they must lie between 0 and {num_classes - 1}"
            )

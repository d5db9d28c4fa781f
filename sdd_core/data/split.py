"""Examples and their labels."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from sdd_core.errors import SddError


def tensor_fault(tensor: Tensor) -> str:
    """Return why a tensor cannot be used like an ordinary one, and what to do; '' if it can."""
    if tensor.is_nested:
        return "a nested tensor; pad its parts to one shape"
    if tensor.layout != torch.strided:
        return "a sparse tensor; pass its .to_dense()"
    if tensor.is_meta:
        return "a tensor on the device 'meta'; make it on the CPU, where it holds numbers"
    if tensor.is_quantized:
        return "a quantized tensor; pass its .dequantize()"
    return ""


@dataclass(frozen=True)
class Split:
    """Examples and their labels.

    images: uint8 `[N, C, H, W]`, or float32 of any shape `[N, ...]`.
    labels: int64 `[N]`, the labels that training sees.
    true_labels: int64 `[N]`, the labels before noise; the same tensor without noise.
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
        """bool `[N]`, True where noise changed the label."""
        return self.labels != self.true_labels


def check_tensors(split: Split, where: str) -> None:
    """Raise SddError unless a split consists of tensors of numbers."""
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
        if tensor.requires_grad:
            raise SddError(f"{where} has for {name} a tensor with a gradient; pass its .detach()")
        if tensor.dim() == 0:
            raise SddError(f"{where} has {name} without dimensions; expected one entry for each "
                           "example")


def check_labels_fit(split: Split, where: str) -> None:
    """Raise SddError unless a split has examples of supported types, and a label for each."""
    images, labels, true = split.images, split.labels, split.true_labels
    if len(labels) == 0:
        raise SddError(f"{where} is empty; it needs at least one example")
    if len(images) != len(labels):
        raise SddError(
            f"{where} has {len(images)} images but {len(labels)} labels; pass one label for each "
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


def check_values(split: Split, where: str, num_classes: int) -> None:
    """Raise SddError unless a split's images are finite and its labels are within the classes."""
    images = split.images
    if images.is_floating_point():
        finite = images.reshape(len(images), -1).isfinite().all(1)
        if not finite.all():
            raise SddError(
                f"{where} has {int((~finite).sum())} example(s) with values that are not "
                f"finite, the first is number {int(finite.int().argmin())}; remove them"
            )
    for kind, some in (("labels", split.labels), ("true labels", split.true_labels)):
        low, high = int(some.min()), int(some.max())
        if low < 0 or high >= num_classes:
            advice = ("; -1 often stands for examples without a label: leave those out"
                      if low == -1 else "")
            raise SddError(
                f"{where} has {kind} from {low} to {high}; with {num_classes} classes "
                f"they must lie between 0 and {num_classes - 1}{advice}"
            )

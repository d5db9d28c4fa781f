"""Conversion of images and labels to tensors: from arrays, PIL images and torch's data sets."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sdd_core.data.split import Split, tensor_fault
from sdd_core.errors import SddError, format_error
from sdd_core.randomness import fork_random_state

Array = Tensor | np.ndarray


def split_of(source: Any, where: str) -> Split:
    """Return the examples in `source`, copied into memory.

    source: a Split, a pair of images and labels, or an object with a length and with pairs of an
        image and its label at 0, 1, ..., such as a map-style torch Dataset. Its transforms are
        applied once: random transforms are not repeated in each epoch.
    where: its name in error messages, such as "data 'mine': the training split".

    Raises SddError if labels are missing, the length is wrong, images have several shapes, ...
    """
    if isinstance(source, Split):
        return source
    if isinstance(source, tuple | list) and len(source) == 2 and isinstance(source[0], Array):
        images, labels = source
        return Split(_images(_tensor(images, f"{where} has {{}} for images"), where),
                     _labels(labels, where))
    if not (hasattr(source, "__len__") and hasattr(source, "__getitem__")) or isinstance(
        source, str | Mapping
    ):
        hint = "; pass its .dataset" if hasattr(source, "dataset") else ""
        raise SddError(f"{where} is {_a(source)}; expected a torch Dataset with a length and "
                       f"items, or a pair of images and labels{hint}")
    images, numbers = [], []
    # Seeded, so that the same data set gives the same examples even with random transforms.
    with fork_random_state():
        torch.manual_seed(0)
        for image, label in _examples(source, where):
            if images and image.shape != images[0].shape:
                raise SddError(
                    f"{where} has images of several shapes: item 0 is {list(images[0].shape)}, "
                    f"item {len(images)} is {list(image.shape)}; make them equal, for example "
                    "with torchvision.transforms.Resize"
                )
            images.append(image)
            numbers.append(label)
    if not images:
        raise SddError(f"{where} is empty; it needs at least one example")
    return Split(_images(torch.stack(images), where), torch.tensor(numbers))


def _examples(source: Any, where: str) -> Iterator[tuple[Tensor, int]]:
    """Yield the images and labels in a data set, in order. Raises SddError that names the item."""
    for index in range(len(source)):
        try:
            item = source[index]
        except Exception as error:
            raise SddError(f"{where} has a length of {len(source)} items, but item {index} "
                           f"raised {format_error(error)}") from error
        if not isinstance(item, tuple | list) or len(item) != 2:
            raise SddError(f"{where} has no label for item {index}, which is {_a(item)}; expected "
                           "a pair of an image and its label")
        image, label = item
        try:
            number = operator.index(label)
        except TypeError:
            raise SddError(f"{where} has the label {_short(label)} ({type(label).__name__}) for "
                           f"item {index}; expected a whole number, 0 for the first class"
                           ) from None
        if not -(2**63) <= number < 2**63:
            raise SddError(f"{where} has the label {_short(number)} for item {index}; expected a "
                           "whole number, 0 for the first class")
        yield _image(image, f"{where} has for item {index} {{}}"), number


def _image(image: Any, has: str) -> Tensor:
    """Return an image as a tensor: a PIL image as uint8 `[C, H, W]`, an array unchanged."""
    if isinstance(image, Array):
        return _tensor(image, has)
    if hasattr(image, "convert") and hasattr(image, "mode"):
        image = image if image.mode in {"L", "RGB"} else image.convert("RGB")
        pixels = torch.from_numpy(np.array(image))
        return pixels[None] if pixels.dim() == 2 else pixels.permute(2, 0, 1)
    raise SddError(f"{_fill(has, _a(image))}; expected an image as a tensor, an array or a PIL "
                   "image; give the data set a transform")


def _tensor(value: Any, has: str, expected: str = "numbers, as a tensor or an array") -> Tensor:
    """Return a value as a tensor on the CPU. Raises SddError if it does not consist of numbers.

    has: the start of the error message, with braces for a description of the value.
    """
    if isinstance(value, np.ma.MaskedArray):
        raise SddError(f"{_fill(has, 'a masked array')}; pass its .filled(), with a value of your "
                       "choice")
    try:
        tensor = torch.as_tensor(value).detach()
    except (TypeError, ValueError, RuntimeError):
        of = f" of type {value.dtype}" if hasattr(value, "dtype") else ""
        raise SddError(f"{_fill(has, _a(value) + of)}; expected {expected}") from None
    if fault := tensor_fault(tensor):
        what, _, advice = fault.partition("; ")
        raise SddError(f"{_fill(has, what)}; {advice}")
    return tensor.cpu()


def _images(images: Tensor, where: str) -> Tensor:
    """Return a copy of images `[N, ...]` in the form of a Split: bytes or float32."""
    if images.dim() == 0:
        raise SddError(f"{where} has images without dimensions; expected [N, C, H, W]")
    if images.is_floating_point():
        return images.to(torch.float32, copy=True).contiguous()
    if images.dtype == torch.uint8 and images.dim() == 3:
        images = images.unsqueeze(1)
    if images.dim() == 4 and images.shape[3] in {1, 3, 4} and images.shape[1] not in {1, 3, 4}:
        raise SddError(f"{where} has images {list(images.shape)}, with channels last; expected "
                       "[N, C, H, W], for example with .permute(0, 3, 1, 2)")
    return images.clone(memory_format=torch.contiguous_format)


def _labels(labels: Any, where: str) -> Tensor:
    labels = _tensor(labels, f"{where} has {{}} for labels",
                     "a tensor or an array of whole numbers")
    if labels.dim() == 0:
        raise SddError(f"{where} has one number for labels; expected one for each image")
    whole = not labels.is_floating_point() and not labels.is_complex()
    return labels.to(torch.int64, copy=True) if whole and labels.dtype != torch.bool else labels


def _fill(has: str, what: str) -> str:
    # Not str.format, because the name of a data set may contain braces.
    before, _, after = has.rpartition("{}")
    return before + what + after


def _a(value: Any) -> str:
    """Return a short description of a value."""
    if isinstance(value, Tensor) and value.is_nested:
        return "a nested tensor"
    if isinstance(value, Array):
        return f"a {type(value).__name__} of shape {list(value.shape)}"
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    return f"a {type(value).__name__}" if value is not None else "None"


def _short(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 40 else f"{text[:37]}..."

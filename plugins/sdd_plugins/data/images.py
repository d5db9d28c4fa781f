"""Image files, decoded once into tensors."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from sdd_core import SddError


def decode(paths: Sequence[Path], size: int | None) -> Tensor:
    """Return the images in `paths` as RGB, uint8 `[N, 3, H, W]`.

    size: H and W in pixels. Other images are cropped to a square at their centre and resized
        (bilinear, with antialiasing). None: all images must have the same size.

    Raises SddError that names the file that cannot be read or has another size.
    """
    first = _decode(paths[0], size)
    images = torch.empty((len(paths), *first.shape), dtype=torch.uint8)

    def fill(index: int) -> None:
        image = _decode(paths[index], size)
        if image.shape != first.shape:
            one, other = ("x".join(map(str, shape.shape[:0:-1])) for shape in (first, image))
            raise SddError(
                f"{paths[index]} has {other} pixels, but {paths[0]} has {one}; use images of one "
                "size, or set data.size to resize them"
            )
        images[index] = image

    # Decoding releases Python's lock, so threads use all cores without copying images.
    with ThreadPoolExecutor() as pool:
        for _ in pool.map(fill, range(len(paths))):
            pass
    return images


def statistics(images: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation of each channel of uint8 `[N, C, H, W]`, in units of 255.

    The sums are integers that float64 represents exactly, so every machine gets the same result.
    """
    channels = images.shape[1]
    total, squares = torch.zeros((2, channels), dtype=torch.float64)
    for part in images.split(1024):
        values = part.transpose(0, 1).flatten(1).double()
        total += values.sum(1)
        squares += values.square().sum(1)
    mean = total / (images.numel() // channels)
    std = (squares / (images.numel() // channels) - mean.square()).sqrt()
    # A constant channel must not lead to a division by zero.
    std = torch.where(std > 0, std, 255.0)
    return tuple((mean / 255).tolist()), tuple((std / 255).tolist())


def _decode(path: Path, size: int | None) -> Tensor:
    try:
        with Image.open(path) as file:
            image = file.convert("RGB")
        if size is not None and image.size != (size, size):
            image = ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR)
        return torch.from_numpy(np.array(image)).permute(2, 0, 1)
    except Exception as error:  # each decoder raises other exceptions for damaged files
        raise SddError(
            f"cannot read image {path}: {error}; replace it or remove it from the data set"
        ) from None

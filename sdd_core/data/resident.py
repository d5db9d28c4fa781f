"""Data in the memory of the device, and batches made from it."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from torch import Tensor

from sdd_core.data.dataset import Dataset
from sdd_core.randomness import generator

# Larger data sets stay uint8 and are normalised batch by batch.
NORMALISED_BYTES = 2 << 30


@dataclass(frozen=True)
class AugmentationDraws:
    """Random augmentation of each image of an epoch, int64 and bool `[N]`, in training order."""

    top: Tensor
    left: Tensor
    flip: Tensor


class DeviceDataset:
    """A data set on a device: normalised once if that fits into memory, else as uint8.

    With augmentation, training images are stored with their padding, so that random crops of a
    whole batch are one indexing operation on a strided view.
    """

    def __init__(self, data: Dataset, device: torch.device, augment: bool) -> None:
        self.data = data
        self.device = device
        images = data.train.images
        # Only images [N, C, H, W] can be cropped and flipped.
        self.augmentation = data.augmentation if augment and images.dim() == 4 else None
        self.train_labels = data.train.labels.to(device)
        self.test_labels = data.test.labels.to(device)
        self.test_images = self._keep(data.test.images)
        self.train_images = self._keep(images)
        self._windows = None
        if self.augmentation:
            pad = (self.augmentation.pad,) * 4
            padded = torch.nn.functional.pad(images.to(device), pad)
            self._windows = padded_views(padded, data.input_shape)

    def __len__(self) -> int:
        return len(self.train_labels)

    def _keep(self, images: Tensor) -> Tensor:
        images = images.to(self.device)
        # Normalisation does not enlarge float images.
        fits = images.is_floating_point() or images.numel() * 4 <= NORMALISED_BYTES
        # Contiguous, so that slices of rows are contiguous views.
        return normalise(images, self.data).contiguous() if fits else images

    def order(self, seed: int, level: int, epoch: int) -> Tensor:
        """Return the order of the examples in an epoch, int64 `[N]`."""
        order = torch.randperm(len(self), generator=generator(seed, "order", level, epoch))
        return order.to(self.device)

    def crops(self, seed: int, level: int, epoch: int) -> AugmentationDraws | None:
        """Return the random augmentation of an epoch; None without augmentation."""
        if self.augmentation is None:
            return None
        draw = generator(seed, "augmentation", level, epoch)
        span, count = 2 * self.augmentation.pad + 1, len(self)
        top, left = torch.randint(span, (2, count), generator=draw).to(self.device)
        flip = torch.rand(count, generator=draw) < (0.5 if self.augmentation.flip else 0.0)
        return AugmentationDraws(top, left, flip.to(self.device))

    def batch(
        self, order: Tensor, crops: AugmentationDraws | None, rows: slice, out: Tensor
    ) -> Tensor:
        """Return the inputs for the examples `order[rows]`, `[batch, ...]`, written to `out`, a
        buffer from `buffer`. Reusing it is faster than new memory, which the system must clear."""
        chosen = order[rows]
        out = out[: len(chosen)]
        if crops is not None and self._windows is not None:
            return normalise(crop(self._windows, chosen, crops, rows), self.data, out)
        if self.train_images.is_floating_point():
            return torch.index_select(self.train_images, 0, chosen, out=out)
        return normalise(self.train_images[chosen], self.data, out)

    def buffer(self, batch_size: int) -> Tensor:
        """Return a buffer for a batch of inputs, at most as large as the training set."""
        return torch.empty((min(batch_size, len(self)), *self.data.input_shape), device=self.device)


def padded_views(padded: Tensor, shape: tuple[int, ...]) -> Tensor | NDArray:
    """Return a view of every crop of padded images `[N, C, ...]` to `shape`, for `crop`.

    On the CPU it is a numpy view, because numpy copies windows row by row, five times as fast as
    torch, which copies number by number.
    """
    if padded.device.type == "cpu":
        return sliding_window_view(padded.numpy(), shape, axis=(1, 2, 3))
    _, height, width = shape
    return padded.unfold(2, height, 1).unfold(3, width, 1)


def crop(
    views: Tensor | NDArray, chosen: Tensor, crops: AugmentationDraws, rows: slice
) -> Tensor:
    """Return random crops `[batch, C, H, W]` of the `chosen` images, some of them flipped."""
    top, left, flip = crops.top[rows], crops.left[rows], crops.flip[rows]
    if isinstance(views, Tensor):
        images = views[chosen, :, top, left]
        return torch.where(flip[:, None, None, None], images.flip(-1), images)
    cut = views[chosen.numpy(), 0, top.numpy(), left.numpy()]
    flipped = np.flatnonzero(flip.numpy())
    # torch flips rows with vector instructions, numpy does not.
    cut[flipped] = torch.from_numpy(cut[flipped]).flip(-1).numpy()
    return torch.from_numpy(cut)


def normalise(images: Tensor, data: Dataset, out: Tensor | None = None) -> Tensor:
    """Return float32 inputs, `(images / scale - mean) / std` by channel; float images without mean
    are not changed.

    out: a buffer for the result (None: new memory, or the unchanged float images themselves).
    """
    stay = not data.mean and images.is_floating_point()
    # The images of the data set must not be changed in place.
    inputs = images.to(torch.float32, copy=not stay) if out is None else out.copy_(images)
    if stay:
        return inputs
    if not data.mean:
        return inputs.div_(data.scale)
    shape = (-1,) + (1,) * (images.dim() - 2)
    mean, std = (
        _channels(tuple(values), shape, data.scale, images.device)
        for values in (data.mean, data.std)
    )
    return inputs.sub_(mean).div_(std)


@functools.lru_cache(maxsize=16)  # creating it takes as long as normalising a small batch
def _channels(
    values: tuple[float, ...], shape: tuple[int, ...], scale: float, device: torch.device
) -> Tensor:
    return torch.tensor(values, device=device).view(shape) * scale

"""Data that stays in the memory of the device, and whole batches made from it."""

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

# Beyond this, images stay uint8 and are normalised batch by batch.
NORMALISED_BYTES = 2 << 30


@dataclass(frozen=True)
class AugmentationDraws:
    """How each image of an epoch is augmented, int64 and bool `[N]`, in the order of training."""

    top: Tensor
    left: Tensor
    flip: Tensor


class DeviceDataset:
    """A data set on a device: normalised once where that fits, as uint8 where it does not.

    With augmentation, training images are kept as uint8 with their padding, so that a random crop
    of a whole batch is one indexing of a strided view.
    """

    def __init__(self, data: Dataset, device: torch.device, augment: bool) -> None:
        self.data = data
        self.device = device
        images = data.train.images
        # Only images, [N, C, H, W], can be cropped and flipped.
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
        # Float images are no larger when they are normalised.
        fits = images.is_floating_point() or images.numel() * 4 <= NORMALISED_BYTES
        # Contiguous, so that rows of it are views of numbers side by side.
        return normalise(images, self.data).contiguous() if fits else images

    def order(self, seed: int, level: int, epoch: int) -> Tensor:
        """int64 `[N]`: the order in which an epoch trains on the examples."""
        order = torch.randperm(len(self), generator=generator(seed, "order", level, epoch))
        return order.to(self.device)

    def crops(self, seed: int, level: int, epoch: int) -> AugmentationDraws | None:
        """An epoch's augmentation, drawn at once; None where there is none."""
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
        """The inputs for the examples `order[rows]`, `[batch, ...]`, written into `out`, a buffer
        that `buffer` made: room that is new has to be cleared by the system first."""
        chosen = order[rows]
        out = out[: len(chosen)]
        if crops is not None and self._windows is not None:
            return normalise(crop(self._windows, chosen, crops, rows), self.data, out)
        if self.train_images.is_floating_point():
            return torch.index_select(self.train_images, 0, chosen, out=out)
        return normalise(self.train_images[chosen], self.data, out)

    def buffer(self, batch_size: int) -> Tensor:
        """Room for one batch of inputs, which is no larger than the training set."""
        return torch.empty((min(batch_size, len(self)), *self.data.input_shape), device=self.device)


def padded_views(padded: Tensor, shape: tuple[int, ...]) -> Tensor | NDArray:
    """A view of every crop of padded images `[N, C, ...]` to `shape`, for `crop`.

    On the CPU of numpy, which copies a window row by row, torch number by number: five times as
    fast.
    """
    if padded.device.type == "cpu":
        return sliding_window_view(padded.numpy(), shape, axis=(1, 2, 3))
    _, height, width = shape
    return padded.unfold(2, height, 1).unfold(3, width, 1)


def crop(
    views: Tensor | NDArray, chosen: Tensor, crops: AugmentationDraws, rows: slice
) -> Tensor:
    """Random crops `[batch, C, H, W]` of the `chosen` images, flipped where asked."""
    top, left, flip = crops.top[rows], crops.left[rows], crops.flip[rows]
    if isinstance(views, Tensor):
        images = views[chosen, :, top, left]
        return torch.where(flip[:, None, None, None], images.flip(-1), images)
    cut = views[chosen.numpy(), 0, top.numpy(), left.numpy()]
    flipped = np.flatnonzero(flip.numpy())
    # torch turns rows round by vector instructions, numpy does not.
    cut[flipped] = torch.from_numpy(cut[flipped]).flip(-1).numpy()
    return torch.from_numpy(cut)


def normalise(images: Tensor, data: Dataset, out: Tensor | None = None) -> Tensor:
    """float32 inputs: `(images / scale - mean) / std` by channel; floats without mean stay.

    out: room for them (None: new, or where floats stay the images themselves).
    """
    stay = not data.mean and images.is_floating_point()
    # Float images must not be changed where the data set keeps them.
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


@functools.lru_cache(maxsize=16)  # making it takes as long as normalising a small batch
def _channels(
    values: tuple[float, ...], shape: tuple[int, ...], scale: float, device: torch.device
) -> Tensor:
    return torch.tensor(values, device=device).view(shape) * scale

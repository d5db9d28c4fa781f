"""Which kernel a layer gets: a deterministic rule of its shape and density."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

Masks = Sequence[NDArray[np.bool_]]


@dataclass(frozen=True, kw_only=True)
class KernelCosts:
    """Nanoseconds that a weight costs on one thread, in a training step with 128 examples.

    A sparse layer pays for its kept weights, a dense one for all. The first layer is apart
    because it needs no gradient of its inputs. The general path (torch) pays for all weights, and
    `general_step` for any step. Convolutions pay for each pixel of their results: a kept weight
    `sparse_pixel`, and `sparse_kept` besides; on the general path every weight `general_pixel`.
    Only the ratios matter for the choice; the defaults are those of an AVX-512 machine;
    `fit_costs` measures them anew.
    """

    sparse_first: float = 6.7
    dense_first: float = 5.4
    sparse_inner: float = 8.8
    dense_inner: float = 8.2
    general_weight: float = 7.8
    general_step: float = 240_000.0
    sparse_pixel: float = 8.0
    sparse_kept: float = 90.0
    general_pixel: float = 7.5

    def check(self) -> KernelCosts:
        """Itself. Raises ValueError or TypeError where a cost is not a number from 0 on."""
        if not all(0 <= cost < float("inf") for cost in asdict(self).values()):
            raise ValueError("costs must be finite numbers from 0 on")
        return self

    def choose(self, masks: Masks) -> tuple[str, ...]:
        """`"sparse"` or `"dense"` for each layer of a perceptron, first to last."""
        return tuple(
            min(("dense", "sparse"), key=lambda kernel: self._layer(mask, kernel, first=i == 0))
            for i, mask in enumerate(masks)
        )

    def gains(self, masks: Masks, pixels: Sequence[int] = ()) -> bool:
        """Whether sparse kernels beat the general path.

        Args:
            masks: of the weights; of a residual network, of its convolutions.
            pixels: how many the result of each convolution has; none for a perceptron.
        """
        if not pixels:
            general = self.general_step + self.general_weight * sum(mask.size for mask in masks)
            return self.step(masks) < general
        layers = list(zip(masks, pixels, strict=True))
        own = sum(
            int(mask.sum()) * (self.sparse_kept + count * self.sparse_pixel)
            for mask, count in layers
        )
        return own < sum(mask.size * count for mask, count in layers) * self.general_pixel

    def step(self, masks: Masks) -> float:
        """What a perceptron's layers cost together, each with its kernel."""
        layers = enumerate(zip(masks, self.choose(masks), strict=True))
        return sum(self._layer(mask, kernel, first=i == 0) for i, (mask, kernel) in layers)

    def _layer(self, mask: NDArray[np.bool_], kernel: str, *, first: bool) -> float:
        if kernel == "sparse":
            return int(mask.sum()) * (self.sparse_first if first else self.sparse_inner)
        if first:
            return mask.shape[0] * int(mask.any(axis=0).sum()) * self.dense_first
        return mask.size * self.dense_inner

"""The choice of a layer's kernel, a deterministic function of its shape and density."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Masks = Sequence[NDArray[np.bool_]]


# The number of examples, or of results, that the costs are for.
EXAMPLES = 128


class LayerWork(NamedTuple):
    """What a step does in a masked layer.

    weights, kept: how many there are. results: output pixels, or tokens, of all examples.
    vectors: how many vectors of `EXAMPLES` results these take. numbers: read or written.
    """

    weights: int
    kept: int
    results: int
    vectors: float
    numbers: int
    convolution: bool


@dataclass(frozen=True, kw_only=True)
class KernelCosts:
    """Cost of a weight in nanoseconds, on one thread, in a training step with 128 examples.

    The cost of a sparse layer is proportional to its kept weights, that of a dense layer to all
    weights, plus `dense_layer` for the calls of its matrix products. The first layer has its own
    costs because it needs no gradient of its inputs. On the general path (torch), all weights
    count, plus `general_step` per step. For convolutions, each kept weight costs `sparse_kept` plus
    `sparse_pixel` per output pixel; on the general path every weight costs `general_pixel` per
    output pixel. A masked layer of any other network costs `masked_weight` per kept weight and 128
    output pixels (or tokens), `masked_number` per number that it reads or writes, and `masked_call`
    per step. Only the ratios matter for the choice. The defaults are those of an AVX-512 machine,
    `default_costs` returns those of this machine's kind, and `fit_costs` measures them.
    """

    sparse_first: float = 6.5
    dense_first: float = 5.4
    sparse_inner: float = 8.7
    dense_inner: float = 8.3
    dense_layer: float = 10_000.0
    general_weight: float = 8.1
    general_step: float = 220_000.0
    sparse_pixel: float = 8.0
    sparse_kept: float = 90.0
    general_pixel: float = 7.5
    masked_weight: float = 15.2
    masked_number: float = 0.8
    masked_call: float = 100_000.0

    def check(self) -> KernelCosts:
        """Return itself. Raises ValueError or TypeError if a cost is not a finite number >= 0."""
        if not all(0 <= cost < float("inf") for cost in asdict(self).values()):
            raise ValueError("costs must be finite numbers of at least 0")
        return self

    def choose(self, masks: Masks) -> tuple[str, ...]:
        """Return `"sparse"` or `"dense"` for each layer of a perceptron, first to last."""
        return tuple(
            min(("dense", "sparse"), key=lambda kernel: self._layer(mask, kernel, first=i == 0))
            for i, mask in enumerate(masks)
        )

    def gains(self, masks: Masks, pixels: Sequence[int] = ()) -> bool:
        """Return whether sparse kernels are faster than the general path.

        Args:
            masks: masks of the weights; for a residual network, of its convolutions.
            pixels: number of output pixels of each convolution; empty for a perceptron.
        """
        if not pixels:
            general = self.general_step + self.general_weight * sum(mask.size for mask in masks)
            return self.step(masks) < general
        layers = list(zip(masks, pixels, strict=True))
        sparse = sum(
            int(mask.sum()) * (self.sparse_kept + count * self.sparse_pixel)
            for mask, count in layers
        )
        return sparse < sum(mask.size * count for mask, count in layers) * self.general_pixel

    def gains_masked(self, work: LayerWork) -> bool:
        """Return whether a masked layer of any network is faster on its kept weights."""
        dense = self.general_pixel if work.convolution else self.general_weight
        return self.masked(work) < work.weights * work.results / EXAMPLES * dense

    def masked(self, work: LayerWork) -> float:
        """Return the cost of a masked layer on its kept weights."""
        weights = work.kept * work.vectors * self.masked_weight
        return weights + work.numbers * self.masked_number + self.masked_call

    def step(self, masks: Masks) -> float:
        """Return the total cost of a perceptron's layers with their chosen kernels."""
        layers = enumerate(zip(masks, self.choose(masks), strict=True))
        return sum(self._layer(mask, kernel, first=i == 0) for i, (mask, kernel) in layers)

    def _layer(self, mask: NDArray[np.bool_], kernel: str, *, first: bool) -> float:
        if kernel == "sparse":
            return int(mask.sum()) * (self.sparse_first if first else self.sparse_inner)
        if first:
            live = mask.shape[0] * int(mask.any(axis=0).sum())
            return live * self.dense_first + self.dense_layer
        return mask.size * self.dense_inner + self.dense_layer


AVX512 = KernelCosts()

AVX2 = KernelCosts(
    sparse_first=8.1, dense_first=5.5, sparse_inner=12.0, dense_inner=8.8, dense_layer=21_000.0,
    general_weight=8.2, general_step=205_000.0,
    sparse_pixel=12.0, sparse_kept=170.0, general_pixel=10.0,
    masked_weight=21.0, masked_number=0.5, masked_call=500_000.0,
)  # fmt: skip

# Measured with SSE, and taken for whatever is not known: torch is used down to a density of a
# third, and of a half for convolutions (`general_pixel` was 39). Those of masked layers were not
# measured: a kept weight costs as many `sparse_pixel` as with AVX2, and torch is used down to a
# density of a tenth to a seventh for linear layers and a quarter for convolutions.
OTHER = KernelCosts(
    sparse_first=20.7, dense_first=7.7, sparse_inner=28.0, dense_inner=13.5, dense_layer=50_000.0,
    general_weight=10.8, general_step=230_000.0,
    sparse_pixel=38.0, sparse_kept=400.0, general_pixel=20.0,
    masked_weight=67.0, masked_number=1.0, masked_call=1_000_000.0,
)  # fmt: skip


def default_costs() -> KernelCosts:
    """Return the costs of this machine's instruction set, measured on an AMD EPYC of 2023."""
    try:
        from sdd_core.sparse.processor import instruction_set  # noqa: PLC0415 (imports numba)
    except ImportError:  # then there are no kernels to choose from
        return OTHER
    return {"avx512": AVX512, "avx2": AVX2}.get(instruction_set(), OTHER)

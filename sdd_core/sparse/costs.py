"""Which kernel a layer gets: a deterministic rule of its shape and density."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class KernelCosts:
    """Nanoseconds that a weight costs in one training step with 128 examples.

    A sparse layer pays for its kept weights, a dense one for all. The first layer is apart
    because it needs no gradient of its inputs. Only the ratios matter for the choice; the
    defaults are those of an AVX-512 machine; `fit_costs` measures them anew.
    """

    sparse_first: float = 10.1
    dense_first: float = 5.4
    sparse_inner: float = 11.4
    dense_inner: float = 8.3

    def choose(self, masks: Sequence[NDArray[np.bool_]]) -> tuple[str, ...]:
        """`"sparse"` or `"dense"` for each layer, first to last."""
        return tuple(self._choose(mask, first=i == 0) for i, mask in enumerate(masks))

    def _choose(self, mask: NDArray[np.bool_], *, first: bool) -> str:
        kept = int(mask.sum())
        if first:
            live = int(mask.any(axis=0).sum())
            dense = mask.shape[0] * live * self.dense_first
            return "dense" if dense < kept * self.sparse_first else "sparse"
        return "dense" if mask.size * self.dense_inner < kept * self.sparse_inner else "sparse"

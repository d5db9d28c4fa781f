"""Compare the logits of an artefact with those of the network that it was made from."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from sdd_core.errors import SddError
from sdd_core.randomness import generator

BATCH_SIZES = (1, 2, 7)
"""Sizes of random batches: formats with a fixed batch size are found out."""

Predict = Callable[[Tensor], Tensor]


def check_equal(network: Predict, artefact: Predict, inputs: Iterator[Tensor], tolerance: float
                ) -> float:
    """Return the largest difference of logits relative to max(1, largest |logit|) of a batch.

    inputs: batches `[N, ...]`. Raises SddError if it is more than `tolerance`, or if the logits
    have another shape or are not finite where the network's are.
    """
    worst = 0.0
    with torch.no_grad():
        for batch in inputs:
            worst = max(worst, _difference(network(batch), artefact(batch)))
            if worst > tolerance:
                raise SddError(f"its logits differ from the network's by {worst:.2g} of the "
                               f"largest, more than the {tolerance:g} of rounding")
    return worst


def random_batches(shape: tuple[int, ...]) -> Iterator[Tensor]:
    """Yield random inputs `[N, *shape]` of several batch sizes, always the same."""
    draw = generator(0, "export")
    for size in BATCH_SIZES:
        yield torch.randn((size, *shape), generator=draw)


def _difference(expected: Tensor, found: Tensor) -> float:
    if found.shape != expected.shape:
        raise SddError(f"it returns logits of shape {list(found.shape)} instead of "
                       f"{list(expected.shape)}")
    finite = expected.isfinite()
    if not torch.equal(finite, found.isfinite()):
        raise SddError("its logits are finite where the network's are not, or the reverse")
    one, other = expected[finite].double(), found[finite].double()
    if not len(one):
        return 0.0
    return float((one - other).abs().max() / one.abs().max().clamp(min=1))

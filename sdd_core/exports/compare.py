"""Compare the logits of an artefact with those of the network that it was made from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor

from sdd_core.errors import SddError
from sdd_core.randomness import generator

BATCH_SIZES = (1, 2, 7)
"""Sizes of random batches, because a format may have fixed the size."""

Predict = Callable[[Tensor], Tensor]


def random_batches(shape: tuple[int, ...]) -> Iterator[Tensor]:
    """Yield random inputs `[N, *shape]`, always the same, in batches of several sizes."""
    draw = generator(0, "export")
    for size in BATCH_SIZES:
        yield torch.randn((size, *shape), generator=draw)


@torch.no_grad()
def check_equal(
    network: Predict, artefact: Predict, batches: Iterable[Tensor], tolerance: float
) -> tuple[float, list[Tensor]]:
    """Return the largest difference between the logits of a network and of an artefact, relative to
    the largest absolute logit of its batch or 1, and the artefact's predicted classes by batch.

    Raises SddError if a difference is larger than `tolerance`, or if the logits of the artefact
    have another shape or are not finite where the network's are.
    """
    worst, classes = 0.0, []
    for batch in batches:
        found = artefact(batch)
        worst = max(worst, _difference(network(batch), found))
        if worst > tolerance:
            raise SddError(f"its logits differ from the network's by {worst:.2g} of the largest "
                           f"logit, more than {tolerance:g}")
        classes.append(found.argmax(1))
    return worst, classes


def _difference(expected: Tensor, found: Tensor) -> float:
    if not isinstance(found, Tensor) or found.shape != expected.shape:
        shape = list(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise SddError(f"it returns {shape} instead of logits {list(expected.shape)}")
    finite = expected.isfinite()
    if not torch.equal(finite, found.isfinite()):
        raise SddError("its logits are not finite where the network's are finite, or the reverse")
    one, other = expected[finite].double(), found[finite].double()
    if not len(one):
        return 0.0
    return float((one - other).abs().max() / one.abs().max().clamp(min=1))

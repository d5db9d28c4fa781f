"""Base of the metrics that use a part of the training set."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from sdd_core import Metric

Batches = Sequence[tuple[Tensor, Tensor]]


class OnSubset(Metric):
    """A metric on random training examples; measured only if the experiment names it."""

    default: ClassVar[bool] = False

    batches: int = Field(default=8, ge=1, description="number of random batches of training data")
    batch_size: int = Field(default=128, ge=1, description="examples per batch")


@torch.no_grad()
def mean_loss(network: nn.Module, batches: Batches) -> float:
    """Return the mean cross-entropy (nats) on the noisy labels."""
    total = sum(
        cross_entropy(network(inputs), labels, reduction="sum").double()
        for inputs, labels in batches
    )
    return float(total) / sum(len(labels) for _, labels in batches)


def along_filters(direction: Tensor, weight: Tensor, mask: Tensor) -> Tensor:
    """A direction of a layer's weight in which every filter, the weights of one output, is as
    long as the weight's; zero where the weight is pruned, for which neither counts."""
    kept = direction * mask
    return kept * (_norm(weight * mask) / _norm(kept).clamp(min=1e-30))


def _norm(weight: Tensor) -> Tensor:
    """Return the norm of each filter, `[outputs, 1, ...]`."""
    return weight.flatten(1).norm(dim=1).view(-1, *(1,) * (weight.dim() - 1))

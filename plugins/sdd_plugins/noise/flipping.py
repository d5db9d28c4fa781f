"""Noise that turns a class into one other class."""

from collections.abc import Mapping

import torch
from torch import Tensor


def flip(
    labels: Tensor, target: Mapping[int, int], rate: float, generator: torch.Generator
) -> Tensor:
    """Return labels `[N]` in which some examples of each class `c` of `target` become `target[c]`.

    Exactly `round(rate * n)` of the `n` examples of a class change, chosen at random; classes that
    are not in `target` do not change. With the same generator a higher rate includes the changes of
    a lower one.
    """
    order = torch.randperm(len(labels), generator=generator)
    shuffled = labels[order]
    noisy = labels.clone()
    for true, wrong in target.items():
        members = order[shuffled == true]
        noisy[members[: round(rate * len(members))]] = wrong
    return noisy

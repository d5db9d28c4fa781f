"""Noise that turns a class into one other class."""

from collections.abc import Mapping

import torch
from torch import Tensor


def flip(
    labels: Tensor, target: Mapping[int, int], rate: float, generator: torch.Generator
) -> Tensor:
    """Labels `[N]` in which examples of each class `c` of `target` have become `target[c]`.

    Of the `n` examples of a class exactly `round(rate * n)` do, chosen at random; classes that
    are not in `target` stay. With the same generator a higher rate keeps what a lower one chose.
    """
    order = torch.randperm(len(labels), generator=generator)
    shuffled = labels[order]
    noisy = labels.clone()
    for true, wrong in target.items():
        members = order[shuffled == true]
        noisy[members[: round(rate * len(members))]] = wrong
    return noisy

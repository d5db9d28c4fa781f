"""Selection of the lowest of many numbers."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

STRIDE = 64
"""One of so many numbers is looked at first, to find a bound for the lowest ones."""


def lowest(numbers: Tensor, count: int, among: Tensor) -> Tensor:
    """Return the positions of the `count` lowest numbers where `among` is True, int64, in no order;
    of equal numbers the first ones. NaN counts as the highest number.

    numbers: real, `[numbers]`. among: bool, `[numbers]`, True at least `count` times.
    """
    if count == 0:
        return torch.empty(0, dtype=torch.int64)
    positions = _candidates(numbers, count, among)
    if len(positions) < count:  # the sample misled, or NaN is among the lowest
        positions = _true(among)
        return positions[numbers[positions].argsort(stable=True)[:count]]
    found = numbers[positions]
    threshold = found.kthvalue(count).values
    below, tied = positions[found < threshold], positions[found == threshold]
    return torch.cat([below, tied[: count - len(below)]])


def _candidates(numbers: Tensor, count: int, among: Tensor) -> Tensor:
    """Return positions, ascending, of all numbers up to a bound that a sample suggests, so that
    they are probably more than `count`. A selection among few numbers takes a tenth of the time of
    one among all."""
    sample = numbers[::STRIDE][among[::STRIDE]].sort().values  # NaN last
    expected = count / STRIDE
    rank = math.ceil(expected + 4 * math.sqrt(expected)) + 4
    bound = float(sample[rank]) if rank < len(sample) else math.inf
    return _true((numbers <= (math.inf if math.isnan(bound) else bound)) & among)


def _true(where: Tensor) -> Tensor:
    """Return the positions at which a mask is True; numpy finds them faster than torch does."""
    return torch.from_numpy(np.flatnonzero(where.numpy()))

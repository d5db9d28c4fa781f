"""Selection of the lowest of many numbers, or of those of smallest or largest magnitude."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

STRIDE = 64
"""One of so many numbers is looked at first, to find a bound for the lowest ones."""


class Order(NamedTuple):
    """What the lowest numbers have lowest.

    key: of numbers; NaN for NaN. within: where the key of many numbers is at most a bound, found
    without an array of all keys, which would take longer than the rest of the selection.
    """

    key: Callable[[NDArray], NDArray]
    within: Callable[[NDArray, float], NDArray[np.bool_]]


VALUE = Order(lambda numbers: numbers, np.less_equal)
SMALLEST = Order(np.abs, lambda numbers, bound: (numbers <= bound) & (numbers >= -bound))
LARGEST = Order(lambda numbers: -np.abs(numbers),
                lambda numbers, bound: (numbers <= bound) | (numbers >= -bound))


def lowest(
    numbers: NDArray, count: int, among: NDArray[np.bool_], order: Order = VALUE
) -> NDArray[np.intp]:
    """Return the positions of the `count` lowest numbers where `among` is True, in no order; of
    equal numbers the first ones. NaN counts as the highest number.

    numbers: real, `[numbers]`. among: `[numbers]`; if it is True less than `count` times, there are
    fewer positions. order: by what they are compared.
    """
    if count == 0:
        return np.empty(0, np.intp)
    positions = _candidates(numbers, count, among, order)
    if len(positions) >= count:
        found = order.key(numbers[positions])
        threshold = np.partition(found, count - 1)[count - 1]
        below, tied = positions[found < threshold], positions[found == threshold]
        if len(below) + len(tied) >= count:
            return np.concatenate([below, tied[: count - len(below)]])
    # The sample misled, or NaN is among the lowest.
    positions = np.flatnonzero(among)
    return positions[np.argsort(order.key(numbers[positions]), kind="stable")[:count]]


def _candidates(
    numbers: NDArray, count: int, among: NDArray[np.bool_], order: Order
) -> NDArray[np.intp]:
    """Return positions, ascending, of all numbers up to a bound that a sample suggests, so that
    they are probably more than `count`. A selection among few numbers takes a tenth of the time of
    one among all."""
    sample = order.key(numbers[::STRIDE][among[::STRIDE]])
    expected = count / STRIDE
    rank = math.ceil(expected + 4 * math.sqrt(expected)) + 4
    if rank < len(sample):
        bound = np.partition(sample, rank)[rank]  # NaN last
        if not np.isnan(bound):
            return np.flatnonzero(order.within(numbers, bound) & among)
    return np.flatnonzero(among)

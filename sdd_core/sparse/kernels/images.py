# pyright: reportCallIssue=false
# (the functions of `simd` get their first argument, the typing context, from the compiler)
"""Images as the kernels read them: one vector of examples for each feature."""

from __future__ import annotations

import numpy as np

from sdd_core.sparse.barrier import share
from sdd_core.sparse.compilation import compiled, inner
from sdd_core.sparse.kernels.records import IMAGES
from sdd_core.sparse.simd import BLOCK, transpose_block, width


@compiled
def within(numbers, limit):
    """Whether all numbers are from 0 to below the limit."""
    low = high = 0
    for number in numbers:
        low, high = min(low, number), max(high, number)
    return low >= 0 and high < limit


@inner
def gather(images, examples, features, units, part, lanes):
    """Write some features of some images, as units x examples.

    Features come in blocks of 16 (`features` has their beginnings), or one by one where an image
    has fewer. Lanes without an example repeat the first one; `cross_entropy` clears their
    gradients.
    """
    count = width(lanes)
    numbers = np.empty(count, examples.dtype)
    for lane in range(count):
        numbers[lane] = examples[lane] if lane < examples.size else examples[0]
    begin, end = share(features.size, part)
    for start in range(0, count, BLOCK):
        if images.shape[1] >= BLOCK:
            for k in range(begin, end):
                transpose_block(images, numbers, start, features[k], units, k * BLOCK, lanes)
        else:
            for k in range(begin, end):
                for lane in range(start, start + BLOCK):
                    units[k * count + lane] = images[numbers[lane], features[k]]


@inner
def enter(images, examples, group, pixel):
    """Write a group's images [examples, pixels] as pixels x 16 images, and which there are."""
    numbers = np.empty(IMAGES, examples.dtype)
    for lane in range(IMAGES):
        there = lane < examples.size
        numbers[lane] = examples[lane] if there else examples[0]
        for x in range(lane, group.present.size, IMAGES):
            group.present[x] = there
    for x in range(0, images.shape[1], BLOCK):
        transpose_block(images, numbers, 0, x, group.memory, x, pixel)

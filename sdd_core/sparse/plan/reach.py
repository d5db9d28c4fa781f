"""Which channels of a residual network's maps matter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sdd_core.sparse.architecture import Architecture, Convolution

Channels = list[NDArray[np.bool_]]


class Reach(NamedTuple):
    """For each map, the channels that are read, and those that a gradient reaches."""

    read: Channels
    reached: Channels

    @classmethod
    def of(cls, architecture: Architecture, masks: Sequence[NDArray[np.bool_]]) -> Reach:
        """Follow the kept weights from the last map back."""
        read = [np.zeros(channels, bool) for channels, _ in architecture.sizes]
        reached = [np.zeros(channels, bool) for channels, _ in architecture.sizes]
        last = architecture.operations[-1].target
        read[last][:] = reached[last][:] = True
        for operation in reversed(architecture.operations):
            source, target = operation.source, operation.target
            if isinstance(operation, Convolution):
                taps = np.any(masks[operation.layer], axis=(2, 3))
                read[source] |= taps.any(axis=0)
                reached[source] |= taps[reached[target]].any(axis=0)
                continue
            reached[source] |= reached[target]
            if operation.other is not None:
                reached[operation.other] |= reached[target]
                read[operation.other] |= read[target]
        return cls(read, reached)

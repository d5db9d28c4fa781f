import math
from collections.abc import Mapping
from itertools import product
from typing import Any, Literal

import torch
from pydantic import Field

from sdd_core import LevelView
from sdd_plugins.metrics.subset import OnSubset, along_filters, mean_loss


class Landscape(OnSubset):
    """The training loss along a random direction from the weights, or over a plane of two.

    At coordinate 1 of a direction, every filter (the weights of one output of a layer) has moved by
    its own norm, so that networks with weights of different size can be compared. Pruned weights,
    unless they train again (re-dense training), biases and normalisations stay fixed. Values are
    the loss by coordinate, `"-1.00"`, or `"-1.00,0.50"` in a plane (`landscape_2d`), whose first
    direction is that of the line; 0 is the network itself. Measured in evaluation mode, on noisy
    labels. None for a level that diverged.
    """

    name = "landscape"
    source = (
        "Li et al., 2018, arXiv:1712.09913, sec. 4; of re-dense solutions: He et al., 2022, "
        "arXiv:2206.08684, sec. 3.1 and appendix A.6"
    )

    dimensions: Literal[1, 2] = Field(
        default=1, description="number of random directions: 1 for a line, 2 for a plane"
    )
    reach: float = Field(
        default=1.0, gt=0, allow_inf_nan=False,
        description="largest coordinate, in norms of each filter",
    )
    points: int = Field(
        default=10, ge=1, description="number of evenly spaced points on each side of the weights"
    )

    def measure(self, level: LevelView) -> Mapping[str, Any]:
        name = "landscape" if self.dimensions == 1 else "landscape_2d"
        if level.diverged:
            return {name: None}
        network = level.network()
        parameters = dict(network.named_parameters())
        start = {name: parameters[name].detach().clone() for name in level.masks}
        draw = level.generator("landscape directions")
        directions = [
            {
                name: along_filters(
                    torch.randn(weight.shape, generator=draw).to(level.device),
                    weight,
                    level.free[name].to(level.device),
                )
                for name, weight in start.items()
            }
            for _ in range(self.dimensions)
        ]
        batches = level.batches(self.batches, self.batch_size)
        places = [self.reach * n / self.points for n in range(-self.points, self.points + 1)]
        # Enough digits to give every point a different name.
        digits = max(2, 1 - math.floor(math.log10(self.reach / self.points)))
        losses = {}
        for at in product(places, repeat=self.dimensions):
            with torch.no_grad():
                for layer, weight in start.items():
                    steps = (t * way[layer] for t, way in zip(at, directions, strict=True))
                    parameters[layer].copy_(sum(steps, weight))
            losses[",".join(f"{t:.{digits}f}" for t in at)] = mean_loss(network, batches)
        return {name: losses}

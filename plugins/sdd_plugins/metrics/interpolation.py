from collections.abc import Mapping
from typing import Any, Literal

import torch
from pydantic import Field

from sdd_core import LevelView
from sdd_plugins.metrics.subset import OnSubset, mean_loss


class Interpolation(OnSubset):
    """The loss on the straight line from another level's weights to this level's.

    The barrier is the largest rise of the training loss above the linear interpolation of its
    values at both ends: max_t L(t) - (1 - t) L(0) - t L(1); 0 if both lie in one basin. All
    parameters and statistics of batch normalisation are interpolated. Measured in evaluation mode,
    on noisy labels. With `to = "level"` the line starts at the level without the experiment's
    ablation: for the ablation `re-dense`, at the sparse solution; without an ablation both ends are
    the same. None for level 0 and for a level that diverged.
    """

    name = "interpolation"
    source = (
        "Frankle et al., 2020, arXiv:1912.05671, sec. 2; this barrier: Entezari et al., 2022, "
        "arXiv:2110.06296, eq. 1; to re-dense solutions: He et al., 2022, arXiv:2206.08684, "
        "sec. 3.1 and appendix A.5"
    )

    to: Literal["before", "dense", "level"] = Field(
        default="before",
        description="other end: the level before, the dense network, or this level without the "
        "experiment's ablation",
    )
    points: int = Field(default=9, ge=1, description="number of evenly spaced points in between")

    def measure(self, level: LevelView) -> Mapping[str, Any]:
        barrier, curve = f"loss_barrier_to_{self.to}", f"loss_on_the_way_to_{self.to}"
        if level.diverged or level.level == 0:
            return {barrier: None, curve: None}
        batches = level.batches(self.batches, self.batch_size)
        network = level.network()
        here = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        there = level.network(self.to).state_dict()
        places = [number / (self.points + 1) for number in range(self.points + 2)]
        losses = []
        for place in places:
            network.load_state_dict({
                name: torch.lerp(there[name], tensor, place) if tensor.is_floating_point()
                else tensor
                for name, tensor in here.items()
            })  # fmt: skip
            losses.append(mean_loss(network, batches))
        line = zip(places, losses, strict=True)
        above = [loss - (1 - t) * losses[0] - t * losses[-1] for t, loss in line]
        named = {f"{place:.2f}": loss for place, loss in zip(places, losses, strict=True)}
        return {barrier: max(above), curve: named}

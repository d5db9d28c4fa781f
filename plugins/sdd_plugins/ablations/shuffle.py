from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from sdd_core import Ablation, LevelView


class Shuffle(Ablation):
    """Shuffled mask: the same number of kept weights, at random positions.

    The mask is shuffled within each layer, which keeps the layers' densities, or over all prunable
    layers. The starting weights are those of the schedule.
    """

    name = "shuffle"
    source = (
        "Frankle & Carbin, 2019, arXiv:1803.03635, appendix F (within layers); "
        "Frankle et al., 2021, arXiv:2009.08576, sec. 4"
    )

    scope: Literal["layer", "global"] = Field(
        default="layer", description="shuffle within each layer, or over all layers"
    )

    def masks(self, level: LevelView) -> Mapping[str, Tensor]:
        draw = level.generator("shuffled mask")
        masks, names = dict(level.masks), level.prunable
        groups = [[name] for name in names] if self.scope == "layer" else [names]
        for group in groups:
            flat = torch.cat([masks[name].flatten() for name in group])
            flat = flat[torch.randperm(len(flat), generator=draw)]
            parts = flat.split([masks[name].numel() for name in group])
            masks |= {n: p.view(masks[n].shape) for n, p in zip(group, parts, strict=True)}
        return masks

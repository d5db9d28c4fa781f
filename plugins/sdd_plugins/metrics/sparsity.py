from collections.abc import Mapping
from typing import Any

from sdd_core import LevelView, Metric


class Sparsity(Metric):
    """Sparsity and density of every prunable layer, and over all of them, exempt ones too."""

    name = "sparsity"
    source = "counting"

    def measure(self, level: LevelView) -> Mapping[str, Any]:
        kept = {name: int(mask.sum()) for name, mask in level.masks.items()}
        size = {name: mask.numel() for name, mask in level.masks.items()}
        pruned = {name: size[name] - kept[name] for name in kept}
        total = sum(size.values())
        return {
            "overall_sparsity": sum(pruned.values()) / total,
            "overall_density": sum(kept.values()) / total,
            "sparsity_by_layer": {name: pruned[name] / size[name] for name in kept},
            "density_by_layer": {name: kept[name] / size[name] for name in kept},
        }

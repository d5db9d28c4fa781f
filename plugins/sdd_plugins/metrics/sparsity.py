from collections.abc import Mapping
from typing import Any, ClassVar

from sdd_core import LevelView, Metric


class Sparsity(Metric):
    """Sparsity of every prunable layer and of the whole network, and what pruning has emptied.

    overall_sparsity: of all weights of the network, the fraction that is pruned. Weights are the
        matrices and kernels of any layer, that is, all floating-point parameters with two
        dimensions or more: exempt, frozen and recurrent ones, embeddings and those of layers that
        sdd does not know too. What layers share counts once, the scale of a weight norm not at all.
    parameter_sparsity: of all parameters, biases and normalisations too, the fraction that is zero.
    dead_layers: how many layers have lost all their weights.
    dead_classes: how many classes have lost all their inputs: the outputs of the last layer that
        can be pruned, where it has as many outputs as there are classes; None where it has not.

    Weights that a schedule holds elsewhere than at zero, or that an ablation trains again, are
    pruned, but not zero, and no layer or class is dead that still has any that is not zero.
    """

    name = "sparsity"
    revision: ClassVar[int] = 2
    source = "counting"

    def measure(self, level: LevelView) -> Mapping[str, Any]:
        kept = {name: int(mask.sum()) for name, mask in level.masks.items()}
        size = {name: mask.numel() for name, mask in level.masks.items()}
        pruned = {name: size[name] - kept[name] for name in kept}
        parameters = level.parameters
        whole = sum(parameters[name].numel() for name in level.matrices)
        everything = sum(parameter.numel() for parameter in parameters.values())
        zero = sum(int((parameter == 0).sum()) for parameter in parameters.values())
        alive = {name: mask | (parameters[name] != 0) for name, mask in level.masks.items()}
        last = list(alive)[-1]
        classes = level.by_output(last, alive[last]).any(1)
        known = len(classes) == level.data.num_classes
        return {
            "overall_sparsity": sum(pruned.values()) / whole,
            "overall_density": (whole - sum(pruned.values())) / whole,
            "parameter_sparsity": zero / everything,
            "dead_layers": sum(not layer.any() for layer in alive.values()),
            "dead_classes": int((~classes).sum()) if known else None,
            "sparsity_by_layer": {name: pruned[name] / size[name] for name in kept},
            "density_by_layer": {name: kept[name] / size[name] for name in kept},
        }

from collections.abc import Mapping
from typing import Any, ClassVar

from sdd_core import LevelView, Metric


class Sparsity(Metric):
    """Sparsity of every prunable layer and of the whole network; numbers of dead layers, classes.

    overall_sparsity: the pruned fraction of all weights of the network. Weights are the matrices
        and kernels of any layer: all floating-point parameters with two or more dimensions,
        including exempt, frozen and recurrent ones, embeddings, and those of layers unknown to sdd.
        Shared weights count once; the scale of a weight norm does not count.
    parameter_sparsity: the fraction of all parameters, with biases and normalisations, that is 0.
    dead_layers: the number of layers without remaining weights.
    dead_classes: the number of outputs without remaining inputs in the last prunable layer; None
        if its number of outputs differs from the number of classes.

    Weights that a schedule holds at a value other than zero, or that an ablation trains again, are
    pruned but not zero. A layer or class that has any nonzero weight is not dead.
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

from collections.abc import Mapping
from typing import Any

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import cross_entropy

from sdd_core import LevelView
from sdd_plugins.metrics.subset import OnSubset, along_filters, mean_loss


class Sharpness(OnSubset):
    """The rise of the training loss around the weights: on average, and in the worst direction.

    Every filter (the weights of one output of a layer) moves by `radius` times its own norm, so
    that networks with weights of different size can be compared. Pruned weights, unless they train
    again (re-dense training), biases and normalisations stay fixed. Levels of different sparsities
    move in spaces of different dimension, so comparing them may be unfair (He et al., 2022,
    arXiv:2206.08684, sec. 3.1); re-dense solutions all move in the same space. `sharpness` is the
    mean over random directions. `worst_sharpness` is the rise after one step along each filter's
    gradient, which is the worst direction as far as the loss is linear. Measured in evaluation
    mode, on noisy labels. None for a level that diverged.
    """

    name = "sharpness"
    source = (
        "filter normalisation: Li et al., 2018, arXiv:1712.09913, sec. 4; "
        "one ascent step: Foret et al., 2021, arXiv:2010.01412, eq. 2"
    )

    radius: float = Field(
        default=0.05, gt=0, allow_inf_nan=False,
        description="length of each step, relative to the filter's norm",
    )
    directions: int = Field(default=10, ge=1, description="number of random directions to average")

    def measure(self, level: LevelView) -> Mapping[str, Any]:
        if level.diverged:
            return {"sharpness": None, "worst_sharpness": None}
        network = level.network()
        parameters = dict(network.named_parameters())
        weights = {name: parameters[name] for name in level.masks}
        start = {name: weight.detach().clone() for name, weight in weights.items()}
        masks = {name: mask.to(level.device) for name, mask in level.free.items()}
        batches = level.batches(self.batches, self.batch_size)
        at_rest = mean_loss(network, batches)

        @torch.no_grad()
        def rise(directions: Mapping[str, Tensor]) -> float:
            for name, weight in weights.items():
                step = along_filters(directions[name], start[name], masks[name])
                weight.copy_(start[name] + self.radius * step)
            loss = mean_loss(network, batches)
            for name, weight in weights.items():
                weight.copy_(start[name])
            return loss - at_rest

        draw = level.generator("sharpness directions")
        rises = [
            rise({
                name: torch.randn(weight.shape, generator=draw).to(level.device)
                for name, weight in start.items()
            })
            for _ in range(self.directions)
        ]  # fmt: skip
        gradients = {name: torch.zeros_like(weight) for name, weight in start.items()}
        for inputs, labels in batches:
            loss = cross_entropy(network(inputs), labels, reduction="sum")
            parts = torch.autograd.grad(loss, list(weights.values()), materialize_grads=True)
            for name, part in zip(weights, parts, strict=True):
                gradients[name] += part
        return {
            "sharpness": sum(rises) / len(rises),
            "worst_sharpness": rise(gradients),
        }

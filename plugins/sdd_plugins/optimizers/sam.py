from collections.abc import Callable, Mapping
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from sdd_core import Optimizer


class Sam(Optimizer):
    """SAM, sharpness-aware minimisation: SGD with the gradient at the worst weights nearby.

    Each step takes two gradients of the same batch: at the weights, and at a distance `radius` in
    the direction of the first one. Pruned weights stay at zero in both. Dropout draws anew for the
    second gradient, and the running statistics of batch normalisation are those of the first one.
    """

    name = "sam"
    source = "Foret et al., 2021, arXiv:2010.01412, algorithm 1"
    closure = True

    radius: float = Field(
        default=0.05, ge=0, le=1e6, description="distance to the weights of the second gradient"
    )
    momentum: float = Field(default=0.9, ge=0, lt=1, description="momentum")

    def make_named(
        self, parameters: Mapping[str, Tensor], lr: float, weight_decay: float
    ) -> torch.optim.Optimizer:
        return SharpnessAware(parameters.values(), self.radius, lr=lr, momentum=self.momentum,
                              weight_decay=weight_decay)


class SharpnessAware(torch.optim.SGD):
    """SGD with the gradient at the worst weights nearby."""

    def __init__(self, params: Any, radius: float, **options: Any) -> None:
        super().__init__(params, **options)
        self._radius = radius

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        assert closure is not None
        weights = [one for group in self.param_groups for one in group["params"]]
        before = [weight.clone() for weight in weights]
        norm = torch.stack([weight.grad.norm() for weight in weights]).norm().clamp(min=1e-12)
        for weight in weights:
            weight.add_(weight.grad * (self._radius / norm))
        loss = closure()
        for weight, value in zip(weights, before, strict=True):
            weight.copy_(value)
        super().step()
        return loss

from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor

from sdd_plugins.optimizers.groups import Grouped, by_decay


class Sgd(Grouped):
    """SGD with momentum. The sparse kernels support it too."""

    name = "sgd"

    momentum: float = Field(default=0.9, ge=0, lt=1, description="momentum")

    @property
    def sgd_momentum(self) -> float | None:
        return self.momentum if self.decay_biases else None

    def make(self, weights: Tensor, lr: float, weight_decay: float) -> torch.optim.Optimizer:
        return torch.optim.SGD([weights], lr=lr, momentum=self.momentum, weight_decay=weight_decay)

    def make_named(
        self, parameters: Mapping[str, Tensor], lr: float, weight_decay: float
    ) -> torch.optim.Optimizer | None:
        if self.decay_biases:
            return None
        return torch.optim.SGD(by_decay(parameters, weight_decay), lr=lr, momentum=self.momentum)

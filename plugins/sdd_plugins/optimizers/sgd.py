import torch
from pydantic import Field
from torch import Tensor

from sdd_core import Optimizer


class Sgd(Optimizer):
    """SGD with momentum. The sparse kernels support it too."""

    name = "sgd"

    momentum: float = Field(default=0.9, ge=0, lt=1, description="momentum")

    @property
    def sgd_momentum(self) -> float:
        return self.momentum

    def make(self, weights: Tensor, lr: float, weight_decay: float) -> torch.optim.Optimizer:
        return torch.optim.SGD([weights], lr=lr, momentum=self.momentum, weight_decay=weight_decay)

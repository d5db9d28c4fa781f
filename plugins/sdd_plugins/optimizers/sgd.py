from typing import ClassVar

import torch
from torch import Tensor

from sdd_core import Optimizer


class Sgd(Optimizer):
    """SGD with momentum, `train.momentum`, which the kernels for sparse networks know too."""

    name = "sgd"
    momentum_sgd: ClassVar[bool] = True

    def make(self, weights: Tensor, lr: float, weight_decay: float) -> torch.optim.Optimizer:
        return torch.optim.SGD([weights], lr=lr, weight_decay=weight_decay)

"""What takes the steps of training."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from sdd_core.plugin.base import Plugin

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class Optimizer(Plugin):
    """Takes the steps of training."""

    kind: ClassVar[str] = "optimizer"
    hook: ClassVar[str] = "sdd_optimizers"
    title: ClassVar[str] = "Optimizers"

    @property
    def sgd_momentum(self) -> float | None:
        """Its momentum, if it is plain SGD with momentum: the engine and the kernels for sparse
        networks then take the steps themselves, and `make` is not called. None for all others."""
        return None

    def make(self, weights: Tensor, lr: float, weight_decay: float) -> torch.optim.Optimizer:
        """An optimizer of `weights`, float32 `[number of weights]`: all that trains, in one.

        So it has to treat each weight by itself. Pruned weights have no gradient and are put back
        after each step, before which its learning rate is set. What it remembers is tensors and
        numbers by name, which a checkpoint keeps.
        """
        raise NotImplementedError

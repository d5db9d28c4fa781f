"""Optimizers."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from sdd_core.plugin.base import Plugin

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class Optimizer(Plugin):
    """An optimizer for training."""

    kind: ClassVar[str] = "optimizer"
    hook: ClassVar[str] = "sdd_optimizers"
    title: ClassVar[str] = "Optimizers"

    @property
    def sgd_momentum(self) -> float | None:
        """The momentum of plain SGD; None for all other optimizers. With plain SGD the engine and
        the sparse kernels take the steps themselves, and `make` is not called."""
        return None

    def make(self, weights: Tensor, lr: float, weight_decay: float) -> torch.optim.Optimizer:
        """Return an optimizer of `weights`, float32 `[number of weights]`: all trainable weights in
        one tensor.

        It must therefore treat each weight separately. The engine sets its learning rate before
        each step, gives pruned weights no gradient and restores them after each step. Its state
        must be tensors and numbers by name, which checkpoints save.
        """
        raise NotImplementedError

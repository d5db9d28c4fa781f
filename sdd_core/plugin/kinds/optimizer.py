"""Optimizers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from sdd_core.plugin.base import Plugin

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class Optimizer(Plugin):
    """An optimizer for training: one that treats each weight separately (`make`), or one that knows
    the parameters by name (`make_named`).

    The engine sets the learning rates before each step, gives pruned weights no gradient and
    restores them after each step. The optimizer's state must be tensors and numbers by name, which
    checkpoints save.

    closure: True if `step` needs the gradients at other weights too, as SAM does. It is then called
        with a function that computes them for the same batch at the current weights, puts them into
        `grad` and returns the loss. The gradients at the step's weights are there before.
    """

    kind: ClassVar[str] = "optimizer"
    hook: ClassVar[str] = "sdd_optimizers"
    title: ClassVar[str] = "Optimizers"
    closure: ClassVar[bool] = False

    @property
    def sgd_momentum(self) -> float | None:
        """The momentum of plain SGD; None for all other optimizers. With plain SGD the engine and
        the sparse kernels take the steps themselves, and `make` is not called."""
        return None

    def make(self, weights: Tensor, lr: float, weight_decay: float) -> torch.optim.Optimizer:
        """Return an optimizer of `weights`, float32 `[number of weights]`: all trainable weights in
        one tensor. It must therefore treat each weight separately."""
        raise NotImplementedError

    def make_named(
        self, parameters: Mapping[str, Tensor], lr: float, weight_decay: float
    ) -> torch.optim.Optimizer | Sequence[torch.optim.Optimizer] | None:
        """Return an optimizer of the network's trainable parameters, or several that share them;
        None, the default, if `make` returns the optimizer.

        For optimizers that need the layers (LARS, Muon) or groups with other options (biases
        without weight decay, learning rates of layers). Each parameter belongs to one group. Each
        group keeps the ratio of its learning rate to `lr` while the schedule changes it. A
        parameter's `grad` is there already and stays the same tensor.
        """
        return None

"""What an optimizer remembers, to resume from, and how one is made."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from sdd_core.experiment.train import Train
from sdd_core.plugin.isolation import attribute_errors

# Prefix of the names of an optimizer's values that are Python numbers, not tensors.
NUMBER = "number "


def memory_of(optimizer: torch.optim.Optimizer, weights: Tensor) -> dict[str, Tensor]:
    """Return an optimizer's state of the weights, by name, copied to the CPU.

    Raises TypeError if the state has other values than tensors and numbers.
    """
    memory: dict[str, Tensor] = {}
    for name, value in optimizer.state[weights].items():
        if isinstance(value, Tensor):
            memory[name] = value.cpu().clone()
        elif isinstance(value, int | float):
            kind = torch.float64 if isinstance(value, float) else None
            memory[NUMBER + name] = torch.tensor(value, dtype=kind)
        else:
            raise TypeError(f"its state has {name!r} of type {type(value).__name__}; checkpoints "
                            "save only tensors and numbers")
    return memory


def restore_memory(
    optimizer: torch.optim.Optimizer, weights: Tensor, memory: Mapping[str, Tensor]
) -> None:
    """Set an optimizer's state to one that `memory_of` returned."""
    optimizer.state[weights] = {
        name.removeprefix(NUMBER): value.item() if name.startswith(NUMBER)
        # Single numbers, such as the count of steps, stay on the CPU.
        else value.to(weights.device if value.dim() else "cpu", copy=True)
        for name, value in memory.items()
    }


def reset_memory(optimizer: torch.optim.Optimizer, weights: Tensor, where: Tensor) -> None:
    """Set an optimizer's state of some weights to zero: of each of its tensors that has the shape
    of `weights`, the entries where `where` (bool, the same shape) is True."""
    for value in optimizer.state[weights].values():
        if isinstance(value, Tensor) and value.shape == weights.shape:
            value.masked_fill_(where, 0)


def make_optimizer(train: Train, weights: Tensor) -> torch.optim.Optimizer:
    """Return the optimizer of an experiment for these weights. Raises SddError if the plugin
    returns no optimizer, or one of other weights."""
    with attribute_errors(train.optimizer):
        made = train.optimizer.make(weights, train.lr, train.weight_decay)
        if not isinstance(made, torch.optim.Optimizer):
            raise TypeError(f"make() returned {type(made).__name__}; expected a "
                            "torch.optim.Optimizer")
        if not any(one is weights for group in made.param_groups for one in group["params"]):
            raise TypeError("make() returned an optimizer of other weights; expected one of the "
                            "tensor `weights`")
        return made

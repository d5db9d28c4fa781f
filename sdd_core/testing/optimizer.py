"""Checks of optimizers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sdd_core.errors import FAILURES, format_error
from sdd_core.testing.call import Check, again, call, fault
from sdd_core.training.optimizer_state import memory_of, restore_memory

RATE = 0.01
STEPS = 4


def checks(plugin: Any) -> list[Check]:
    """Return the checks of an optimizer."""
    return Check.all(steps, rate, each_by_itself, goes_on, about=(plugin,))


def steps(plugin: Any) -> None:
    """Its steps move every weight that has a gradient, and stay finite, with weight decay too"""
    same = _gradients()[:1].expand(STEPS, -1)  # so that steps do not cancel one another
    for weight_decay in (0.0, 0.1):
        weights = _weights()
        _train(plugin, weights, same, weight_decay=weight_decay)
        if not weights.isfinite().all():
            raise fault(plugin, "makes weights infinite or NaN in a few steps")
        if bool((weights == _weights()).any()):
            raise fault(plugin, "does not move weights that have gradients")


def rate(plugin: Any) -> None:
    """It uses the learning rate set before each step; with 0 no weight moves"""
    weights = _weights()
    _train(plugin, weights, _gradients(), rate=0.0)
    if not torch.equal(weights, _weights()):
        raise fault(plugin, "moves weights with a learning rate of 0; read it from param_groups")


def each_by_itself(plugin: Any) -> None:
    """It treats each weight independently, because all layers are one tensor"""
    weights, alone = _weights(), _weights()[:3]
    _train(plugin, weights, _gradients())
    _train(plugin, alone, _gradients()[:, :3])
    if not torch.allclose(weights[:3], alone, rtol=1e-5, atol=1e-7):
        raise fault(plugin, "moves a weight depending on the others; all layers are one tensor, so "
                            "it must treat each weight independently")


def goes_on(plugin: Any) -> None:
    """It resumes from its state at a checkpoint bit for bit"""
    whole, halves = _weights(), _weights()
    _train(plugin, whole, _gradients())
    first = _train(plugin, halves, _gradients()[:2])
    try:
        memory = memory_of(first, halves)
    except TypeError as error:
        raise fault(plugin, f"cannot be resumed from a checkpoint: {error}") from error
    _train(plugin, halves, _gradients()[2:], memory=memory)
    if not torch.equal(whole, halves):
        raise fault(plugin, "takes other steps after a checkpoint; keep its whole state as tensors "
                            "or numbers in `state`")


def _train(
    plugin: Any,
    weights: Tensor,
    gradients: Tensor,
    *,
    rate: float = RATE,
    weight_decay: float = 0.0,
    memory: Any = None,
) -> torch.optim.Optimizer:
    """Take a step for each row of gradients, as the engine does."""
    optimizer = call(again(plugin), "make", weights, RATE, weight_decay)
    if not isinstance(optimizer, torch.optim.Optimizer) or len(optimizer.param_groups) != 1 or [
        id(one) for one in optimizer.param_groups[0]["params"]
    ] != [id(weights)]:
        raise fault(plugin, "make() does not return a torch.optim.Optimizer of the one given "
                            "tensor")
    if memory is not None:
        restore_memory(optimizer, weights, memory)
    for gradient in gradients:
        weights.grad = gradient.clone()
        optimizer.param_groups[0]["lr"] = rate
        try:
            optimizer.step()
        except FAILURES as error:
            raise fault(plugin, f"step() raised {format_error(error)}") from error
    return optimizer


def _weights() -> Tensor:
    return torch.linspace(-1, 1, 8)


def _gradients() -> Tensor:
    """float32 `[steps, weights]`."""
    return torch.randn(STEPS, 8, generator=torch.Generator().manual_seed(0))

"""Checks of optimizers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sdd_core.errors import SddError
from sdd_core.experiment.train import Train
from sdd_core.testing.call import Check, again, call, fault
from sdd_core.testing.retrain import killed_and_resumed
from sdd_core.training.optimizer_state import TorchOptimizers

RATE = 0.01
STEPS = 4
SHAPES = {"first.weight": (6, 5), "first.bias": (6,), "scale": (3,), "kernel": (4, 3, 2, 2)}

Weights = dict[str, Tensor]


def checks(plugin: Any) -> list[Check]:
    """Return the checks of an optimizer."""
    functions = [steps, rate, goes_on, resumes]
    if not _is_named(plugin):
        functions.insert(2, each_by_itself)
    return Check.all(*functions, about=(plugin,))


def steps(plugin: Any) -> None:
    """Its steps move every weight that has a gradient, and stay finite, with weight decay too"""
    same = _gradients(plugin)[:1] * STEPS  # so that steps do not cancel one another
    for weight_decay in (0.0, 0.1):
        weights = _weights(plugin)
        _train(plugin, weights, same, weight_decay=weight_decay)
        for name, start in _weights(plugin).items():
            if not weights[name].isfinite().all():
                raise fault(plugin, "makes weights infinite or NaN in a few steps")
            if bool((weights[name] == start).any()):
                raise fault(plugin, "does not move weights that have gradients")


def rate(plugin: Any) -> None:
    """It uses the learning rate set before each step; with 0 no weight moves"""
    weights = _weights(plugin)
    _train(plugin, weights, _gradients(plugin), rate=0.0)
    if not _equal(weights, _weights(plugin)):
        raise fault(plugin, "moves weights with a learning rate of 0; read it from param_groups")


def each_by_itself(plugin: Any) -> None:
    """It treats each weight independently, because all layers are one tensor"""
    whole, gradients = _weights(plugin), _gradients(plugin)
    alone = {"weights": whole["weights"][:3].clone()}
    _train(plugin, whole, gradients)
    _train(plugin, alone, [{"weights": one["weights"][:3]} for one in gradients])
    if not torch.allclose(whole["weights"][:3], alone["weights"], rtol=1e-5, atol=1e-7):
        raise fault(plugin, "moves a weight depending on the others; all layers are one tensor, so "
                            "it must treat each weight independently, or be made by make_named()")


def goes_on(plugin: Any) -> None:
    """It resumes from its state at a checkpoint bit for bit"""
    whole, halves = _weights(plugin), _weights(plugin)
    _train(plugin, whole, _gradients(plugin))
    first = _train(plugin, halves, _gradients(plugin)[:2])
    try:
        memory = first.memory()
    except SddError as error:
        raise fault(plugin, f"cannot be resumed from a checkpoint: "
                            f"{error.__cause__ or error}") from error
    _train(plugin, halves, _gradients(plugin)[2:], memory=memory)
    if not _equal(whole, halves):
        raise fault(plugin, "takes other steps after a checkpoint; keep its whole state as tensors "
                            "or numbers in `state`")


def resumes(plugin: Any) -> None:
    """A resumed run equals an uninterrupted one bit for bit"""
    killed_and_resumed(plugin, train={"epochs": 2, "batch_size": 48, "lr": RATE,
                                      "optimizer": plugin})


def _is_named(plugin: Any) -> bool:
    """Return whether the plugin makes optimizers of named parameters."""
    return call(again(plugin), "make_named", _with_gradients(_of_shapes(0)), RATE, 0.0) is not None


def _train(
    plugin: Any,
    weights: Weights,
    gradients: Sequence[Weights],
    *,
    rate: float = RATE,
    weight_decay: float = 0.0,
    memory: Any = None,
) -> TorchOptimizers:
    """Take a step for each of the gradients, as the engine does."""
    parameters, flat = _with_gradients(weights), torch.zeros(0)
    if "weights" in weights:
        flat = parameters["weights"] = weights["weights"].clone()
        call(again(plugin), "make", flat.clone(), RATE, weight_decay)
    else:
        call(again(plugin), "make_named", _with_gradients(weights), RATE, weight_decay)
    try:
        optimizers = TorchOptimizers(
            Train(optimizer=again(plugin), lr=RATE, weight_decay=weight_decay), flat, parameters
        )
    except SddError as error:
        raise fault(plugin, str(error)) from error
    if memory is not None:
        optimizers.restore(memory)
    slopes = {name: torch.zeros_like(one.detach()) if one.grad is None else one.grad
              for name, one in parameters.items()}
    for gradient in gradients:

        def closure(gradient: Weights = gradient) -> Tensor:
            for name, parameter in parameters.items():  # that of a loss which is not linear
                slopes[name].copy_(gradient[name] + 0.1 * parameter.detach())
                parameter.grad = slopes[name]
            return torch.zeros(())

        closure()
        try:
            optimizers.step(rate, closure)
        except SddError as error:
            raise fault(plugin, f"step() raised {error}") from error
    for name, parameter in parameters.items():
        weights[name].copy_(parameter.detach())
    return optimizers


def _with_gradients(weights: Weights) -> Weights:
    """Return parameters with these values, whose gradients are zero."""
    parameters: Weights = {}
    for name, weight in weights.items():
        parameters[name] = torch.nn.Parameter(weight.clone())
        parameters[name].grad = torch.zeros_like(weight)
    return parameters


def _weights(plugin: Any) -> Weights:
    return _of_shapes(1) if _is_named(plugin) else {"weights": torch.linspace(-1, 1, 8)}


def _gradients(plugin: Any) -> list[Weights]:
    """Return gradients of each step."""
    draw = torch.Generator().manual_seed(0)
    shapes = {name: weight.shape for name, weight in _weights(plugin).items()}
    return [{name: torch.randn(shape, generator=draw) for name, shape in shapes.items()}
            for _ in range(STEPS)]


def _of_shapes(seed: int) -> Weights:
    draw = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=draw) for name, shape in SHAPES.items()}


def _equal(one: Weights, other: Weights) -> bool:
    return all(torch.equal(weight, other[name]) for name, weight in one.items())

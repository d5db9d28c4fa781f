"""A training step of VGG-16 and of a vision transformer at 90, 95 and 99 % sparsity.

    python benchmarks/layers.py [--repeats N] [--model NAME] [--processor-time]

Images of 32x32 pixels, random weights and masks: how long a step takes does not depend on their
values. Both sides are the general path, with its masked layers on their kept weights and with all
weights (`--kernels none`). "Layers alone" is the ratio without the rest of the network, which both
sides have in common: its time is that of a step whose masked layers return zeros.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from copy import deepcopy
from functools import partial
from typing import Any

import numpy as np
import torch
from baseline import (
    BATCH,
    CPU,
    Clock,
    build,
    fastest,
    milliseconds,
    random_images,
    settings,
    table,
)
from torch import Tensor, nn

from sdd_core import Experiment
from sdd_core.data.resident import DeviceDataset
from sdd_core.level.masks import prunable_weights
from sdd_core.training.select import TrainerFactory
from sdd_core.training.trainer import Trainer

TARGETS = {"vgg16": {0.9: 2.0, 0.95: 3.0, 0.99: 6.0}, "vit": {0.9: 1.5, 0.95: 2.0, 0.99: 3.0}}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--model", choices=list(TARGETS))
    args, clock = Clock.chosen(parser)
    data = DeviceDataset(random_images((3, 32, 32), BATCH), CPU, augment=False)
    rows = []
    for model in [args.model] if args.model else TARGETS:
        for sparsity, target in TARGETS[model].items():
            rows.append([model, f"{sparsity:.0%}", *compare(model, sparsity, data, clock,
                                                            args.repeats), f"{target:g}x"])
    table(["model", "sparsity", "layers on kept weights", "dense ms", "sdd ms", "ratio",
           "layers alone", "target"],
          rows)


def compare(
    model: str, sparsity: float, data: DeviceDataset, clock: Clock, repeats: int
) -> list[str]:
    """Return how many layers use their kept weights, the times of both sides, and their ratio."""
    order, rates = torch.arange(BATCH), np.full(1, 0.001)
    trainers: dict[str, Trainer] = {}
    experiment = settings(model, "none")
    network = build(experiment, data.data)
    masks = random_masks(network, experiment.model.exempt(), 1 - sparsity)
    for name in ("auto", "none"):
        made = TrainerFactory(network, data, settings(model, name))
        trainers[name] = made.make(deepcopy(network), masks)
    trainers["rest"] = without(network, masks, data, experiment)
    works: dict[str, Callable[[], object]] = {}
    for name, trainer in trainers.items():
        works |= clock.with_threads(name, lambda t=trainer: t.steps(order, None, 0, rates))
    times = clock.measure(works, repeats)
    theirs, ours, rest = (fastest(times, name) for name in ("none", "auto", "rest"))
    used = [kernel.endswith("=sparse") for kernel in trainers["auto"].kernels]
    return [f"{sum(used)} of {len(masks)}", milliseconds(theirs), milliseconds(ours),
            f"{theirs / ours:.1f}x", f"{(theirs - rest) / (ours - rest):.1f}x"]


def without(
    network: nn.Module, masks: Mapping[str, Tensor], data: DeviceDataset, experiment: Experiment
) -> Trainer:
    """Return a trainer of the network whose masked layers return zeros."""
    copied = deepcopy(network)
    for name in masks:
        layer = copied.get_submodule(name.rpartition(".")[0])
        layer.forward = partial(Zeros.apply, deepcopy(layer).to("meta"))  # type: ignore[method-assign]
    return TrainerFactory(copied, data, experiment).make(copied, masks)


class Zeros(torch.autograd.Function):
    """A layer's results and gradients, all zero."""

    @staticmethod
    def forward(ctx: Any, layer: nn.Module, inputs: Tensor) -> Tensor:
        ctx.save_for_backward(inputs)
        shape = layer(inputs.to("meta")).shape
        return inputs.new_zeros(shape).requires_grad_()

    @staticmethod
    def backward(ctx: Any, _: Tensor) -> tuple[None, Tensor]:
        (inputs,) = ctx.saved_tensors
        return None, torch.zeros_like(inputs)


def random_masks(
    network: nn.Module, exempt: tuple[str, ...], density: float
) -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(0)
    return {
        name: torch.rand(weight.shape, generator=draw) < density
        for name, weight in prunable_weights(network).items()
        if not name.startswith(exempt)
    }


if __name__ == "__main__":
    main()

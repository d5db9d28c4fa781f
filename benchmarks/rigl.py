"""RigL on LeNet-300-100: with the sparse kernels, and in a dense loop under masks.

    python benchmarks/rigl.py [--repeats N] [--every STEPS]

Random images of 1x28x28 in batches of 128; random masks of equal density in each layer. Three
sides: sdd's training with fixed masks, with masks that RigL moves, and a plain torch loop under
dense masks with the same RigL. Each takes four updates and as many steps between two of them as
`--every` says. The last column is the dense loop against sdd's RigL.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from copy import deepcopy

import numpy as np
import torch
from baseline import BATCH, CPU, Clock, Eager, fastest, milliseconds, random_images, settings, table
from torch import Tensor
from torch.nn.functional import cross_entropy

from sdd_core import Experiment, load_plugins
from sdd_core.data.resident import DeviceDataset
from sdd_core.level.masks import full_masks, prunable_weights
from sdd_core.level.retraining import Retraining
from sdd_core.plugin.isolation import Guard
from sdd_core.pruning.moving import plan_course
from sdd_core.pruning.prune import prune_to
from sdd_core.pruning.rules import USUAL
from sdd_core.training.loop import Task, train_level
from sdd_core.training.mover import Mover
from sdd_core.training.select import TrainerFactory

SPARSITIES, UPDATES, FRACTION = (0.8, 0.9, 0.95, 0.98), 4, 0.3


class EagerRigL(Eager):
    """The dense loop under masks, with RigL as its authors' code has it."""

    def run(self, order: Tensor, rate: float, every: int) -> None:
        self.network.train()
        self.optimizer.param_groups[0]["lr"] = rate
        batches = order.split(BATCH)
        for number, chosen in enumerate(batches):
            images, labels = self.data.train_images[chosen], self.data.train_labels[chosen]
            if number == 0 or number % every:
                self.step(images, labels)
            else:
                self.optimizer.zero_grad()
                cross_entropy(self.network(images), labels).backward()
                angle = math.pi * number / len(batches)
                self.update(FRACTION / 2 * (1 + math.cos(angle)))

    @torch.no_grad()
    def update(self, fraction: float) -> None:
        for weight, mask in self.masks:
            count = int(fraction * int(mask.sum()))
            magnitudes = weight.abs().masked_fill(~mask, math.inf).flatten()
            rest = mask.clone()
            rest.view(-1)[magnitudes.topk(count, largest=False).indices] = False
            assert weight.grad is not None
            gains = weight.grad.abs().masked_fill(rest, -1.0).flatten()
            new = rest.clone()
            new.view(-1)[gains.topk(count).indices] = True
            weight.masked_fill_(new != mask, 0.0)
            self.optimizer.state[weight]["momentum_buffer"].masked_fill_(new != mask, 0.0)
            mask.copy_(new)


class Side:
    """Training by sdd, with fixed masks or with RigL."""

    def __init__(self, experiment: Experiment, data: DeviceDataset, masks: dict[str, Tensor],
                 steps: int, every: int | None) -> None:
        network = experiment.model.build(data.data.input_shape, 10)
        self.trainer = TrainerFactory(network, data, experiment).make(network, masks)
        self.data = data
        self.task = Task(Retraining("initialisation", np.full(steps, 0.001)), 0, 1, BATCH,
                         measure=False)
        self.mover = None
        if every is not None:
            plugin = load_plugins().make("sparse-training", {
                "name": "rigl", "every": every, "fraction": FRACTION, "end": 1.0})
            course = plan_course(
                plugin, steps, math.ceil(len(data) / BATCH), level=1, seed=0, before=masks,
                after=masks, exempt=frozenset(), scope=experiment.pruner.scope, rules=USUAL)
            self.mover = Mover(course, Guard(0), None)

    def run(self) -> None:
        train_level(self.trainer, self.data, self.task, mover=self.mover)


def rows(repeats: int, every: int, clock: Clock) -> list[list[str]]:
    experiment = settings(lr=0.05, weight_decay=1e-4)
    steps = UPDATES * every + 1
    data = DeviceDataset(random_images((1, 28, 28), steps * BATCH), CPU, augment=False)
    layer, draw = load_plugins().make("scope", "layer"), torch.Generator().manual_seed(0)
    order = torch.randperm(len(data), generator=draw)
    found = []
    for sparsity in SPARSITIES:
        network = experiment.model.build(data.data.input_shape, 10)
        full = full_masks(prunable_weights(network))
        scores = {name: torch.rand(mask.shape, generator=draw) for name, mask in full.items()}
        masks = prune_to(full, scores, sparsity, layer)
        sides = {"fixed": None, "rigl": every}
        works: dict[str, Callable[[], object]] = {
            name: Side(experiment, data, masks, steps, one).run for name, one in sides.items()}
        eager = EagerRigL(deepcopy(network), {n: m.clone() for n, m in masks.items()}, data,
                          experiment)
        works |= clock.with_threads("eager", lambda eager=eager: eager.run(order, 0.001, every))
        times = clock.measure(works, repeats)
        theirs = fastest(times, "eager")
        found.append([
            f"{sparsity:.0%}", milliseconds(times["fixed"] / steps),
            milliseconds(times["rigl"] / steps), f"{times['rigl'] / times['fixed']:.2f}x",
            milliseconds(theirs / steps), f"{theirs / times['rigl']:.1f}x",
        ])  # fmt: skip
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--every", type=int, default=100, help="steps between two updates")
    args, clock = Clock.chosen(parser)
    head = ["sparsity", "fixed masks, ms a step", "RigL", "RigL / fixed", "dense loop with RigL",
            "dense loop / RigL"]
    table(head, rows(args.repeats, args.every, clock))


if __name__ == "__main__":
    main()

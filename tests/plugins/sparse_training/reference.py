"""Sparse training once more, in plain numpy and torch, as the papers describe it.

Level 1 of a run: magnitude pruning of the dense network, back to the initialisation, then masked
SGD with momentum, in which the masks move. Nothing of the engine is used but the data, their order,
and the dense level, which a run gives.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from sdd_core import Experiment
from sdd_core.randomness import generator
from sdd_core.training.setup import ExperimentSetup

Arrays = dict[str, np.ndarray]


class Reference:
    """A level in training. masks: which weights are kept. weights, momenta: of all parameters."""

    def __init__(self, settings: dict, dense: dict, initial: dict) -> None:
        self.experiment = Experiment.make(settings)
        setup = ExperimentSetup(self.experiment, None, torch.device("cpu"))
        self.data = setup.resident
        self.network = setup.build(0)
        self.network.load_state_dict(initial)
        self.names = [n for n, p in self.network.named_parameters() if p.dim() > 1]
        self.full = {n: np.ones(dense[n].shape, bool) for n in self.names}
        sizes = sum(mask.size for mask in self.full.values())
        self.count = sizes - math.ceil(self.experiment.pruner.fraction * sizes)
        self.masks = self.largest({n: np.abs(dense[n].numpy()) for n in self.names})
        self.momenta = {n: torch.zeros_like(p) for n, p in self.network.named_parameters()}
        self.rates = setup.retraining(1).learning_rates
        self.size = self.experiment.train.batch_size
        self.per_epoch = math.ceil(len(self.data) / self.size)

    def largest(self, scores: Arrays, count: int | None = None) -> Arrays:
        """The masks of the largest scores of all layers."""
        flat = np.concatenate([scores[n].ravel() for n in self.names])
        chosen = np.zeros(flat.size, bool)
        chosen[np.argsort(-flat, kind="stable")[: self.count if count is None else count]] = True
        ends = np.cumsum([scores[n].size for n in self.names])[:-1]
        return {n: part.reshape(scores[n].shape)
                for n, part in zip(self.names, np.split(chosen, ends), strict=True)}

    def weight(self, name: str) -> np.ndarray:
        return self.network.get_parameter(name).detach().numpy()

    def gradients(self, step: int) -> None:
        epoch, batch = divmod(step, self.per_epoch)
        order = self.data.order(self.experiment.seed, 1, epoch)
        rows = order[batch * self.size : (batch + 1) * self.size]
        self.network.zero_grad()
        logits = self.network(self.data.train_images[rows])
        cross_entropy(logits, self.data.train_labels[rows]).backward()

    @torch.no_grad()
    def descend(self, step: int) -> None:
        train = self.experiment.train
        for name, p in self.network.named_parameters():
            gradient = p.grad + train.weight_decay * p
            if name in self.masks:
                gradient *= torch.from_numpy(self.masks[name])
            self.momenta[name].mul_(train.optimizer.momentum).add_(gradient)
            p.sub_(self.rates[step] * self.momenta[name])

    @torch.no_grad()
    def move(self, masks: Arrays) -> None:
        for name, mask in masks.items():
            changed = torch.from_numpy(mask != self.masks[name])
            self.network.get_parameter(name)[changed] = 0
            self.momenta[name][changed] = 0
        self.masks = masks

    def train(self, update: Callable[[Reference, int], Arrays | None], replaces: bool) -> None:
        with torch.no_grad():
            for name, mask in self.masks.items():
                self.network.get_parameter(name)[torch.from_numpy(~mask)] = 0
        for step in range(len(self.rates)):
            if replaces:
                self.gradients(step)
            masks = update(self, step)
            if masks is not None:
                self.move(masks)
                if replaces:
                    continue
            self.gradients(step)
            self.descend(step)


def rigl(level: Reference, step: int, every: int, fraction: float, end: float) -> Arrays | None:
    last = end * len(level.rates)
    if step == 0 or step % every or step >= last:
        return None
    share = fraction / 2 * (1 + math.cos(step * math.pi / last))
    masks = {}
    for name, mask in level.masks.items():
        size, ones = mask.size, int(mask.sum())
        drop = int(share * ones)
        # As in the authors' code: sort everything, keep the first, lift those that are kept.
        kept = np.zeros(size, bool)
        magnitudes = np.where(mask, np.abs(level.weight(name)), -1).ravel()
        kept[np.argsort(-magnitudes, kind="stable")[: ones - drop]] = True
        grow = np.abs(level.network.get_parameter(name).grad.numpy()).ravel()
        grow[kept] = -1
        grown = np.zeros(size, bool)
        grown[np.argsort(-grow, kind="stable")[:drop]] = True
        masks[name] = (kept | grown).reshape(mask.shape)
    return masks


def set_(level: Reference, step: int, fraction: float) -> Arrays | None:
    if step == 0 or step % level.per_epoch:
        return None
    draw = generator(level.experiment.seed, "plugin", "regrown weights", 1, step)
    masks = {}
    for name, mask in level.masks.items():
        weights, rest = level.weight(name), mask.copy()
        for sign in (1, -1):
            side = np.flatnonzero(mask & (weights > 0 if sign > 0 else weights <= 0))
            order = side[np.argsort(np.abs(weights).ravel()[side], kind="stable")]
            rest.ravel()[order[: int(fraction * len(side))]] = False
        # Random numbers decide which of all weights that are not kept grow.
        numbers = torch.rand(mask.shape, generator=draw).numpy().ravel()
        free = np.flatnonzero(~rest)
        grown = free[np.argsort(numbers[free], kind="stable")[: mask.sum() - rest.sum()]]
        rest.ravel()[grown] = True
        masks[name] = rest
    return masks


def gmp(level: Reference, step: int, begin: float, end: float, every: int) -> Arrays | None:
    first, last = int(begin * len(level.rates)), int(end * len(level.rates))
    if step != last and not (first <= step < last and (step - first) % every == 0):
        return None
    size = sum(mask.size for mask in level.full.values())
    final = 1 - level.count / size
    sparsity = final + (0 - final) * (1 - (step - first) / (last - first)) ** 3
    kept = round(size * (1 - sparsity))
    return level.largest({n: np.where(mask, np.abs(level.weight(n)), -1)
                          for n, mask in level.masks.items()}, kept)


def ac_dc(level: Reference, step: int, compressed: set[int], dense: set[int]) -> Arrays | None:
    if step in dense:
        return level.full
    if step in compressed:
        return level.largest({n: np.abs(level.weight(n)) for n in level.names})
    return None

"""Optimizers, learning-rate schedules, scopes, sparsities, trackers and export formats with one
fault each."""

from __future__ import annotations

import copy
import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sdd_core import (
    Exporter,
    LearningRateSchedule,
    Optimizer,
    Scope,
    SparsitySchedule,
    Tracker,
)


class _Step(torch.optim.Optimizer):
    """Subtracts what `move` makes of the gradient."""

    def __init__(self, weights: Tensor, move, lr: float) -> None:
        super().__init__([weights], {"lr": lr})
        self._move = move

    @torch.no_grad()
    def step(self, closure=None):
        (weights,) = self.param_groups[0]["params"]
        weights -= self.param_groups[0]["lr"] * self._move(weights.grad, self.state[weights])


class NormGradient(Optimizer):
    """Divides the gradient by the norm of all of it."""

    name = "norm-gradient"

    def make(self, weights, lr, weight_decay):
        return _Step(weights, lambda gradient, _: gradient / gradient.norm(), lr)


class OwnRate(Optimizer):
    """Keeps the learning rate that it was made with."""

    name = "own-rate"

    def make(self, weights, lr, weight_decay):
        made = _Step(weights, lambda gradient, _: gradient, 1.0)
        made.register_step_pre_hook(lambda one, *_: one.param_groups[0].update(lr=lr))
        return made


class Forgets(Optimizer):
    """Remembers the gradients where no checkpoint finds them."""

    name = "forgets"

    def make(self, weights, lr, weight_decay):
        momentum = torch.zeros_like(weights)
        return _Step(weights, lambda gradient, _: momentum.mul_(0.9).add_(gradient), lr)


class Collects(Optimizer):
    """Remembers the sizes of all gradients in a list."""

    name = "collects"

    def make(self, weights, lr, weight_decay):
        made = _Step(weights, lambda gradient, _: gradient, lr)
        made.state[weights]["sizes"] = []
        return made


class Half(Optimizer):
    """Optimizes a copy of the weights."""

    name = "half"

    def make(self, weights, lr, weight_decay):
        return torch.optim.SGD([weights.clone()], lr=lr)


class OneShort(LearningRateSchedule):
    """Falls on a line, and has no factor for the last step."""

    name = "one-short"

    def factors(self, steps):
        return np.linspace(1, 0, steps)[:-1]


class Negative(LearningRateSchedule):
    """Falls below 0."""

    name = "negative"

    def factors(self, steps):
        return np.linspace(1, -0.1, steps)


class Nothing(LearningRateSchedule):
    """Trains nothing."""

    name = "nothing"

    def factors(self, steps):
        return np.zeros(steps)


class ForgetsLayers(Scope):
    """Leaves out layers of which little is left."""

    name = "forgets-layers"

    def shares(self, layers, count):
        return [([name], count(layer.kept, layer.size))
                for name, layer in layers.items() if layer.kept > layer.size // 2]


class TakesTooMany(Scope):
    """Takes from each layer what is to go of all."""

    name = "takes-too-many"

    def shares(self, layers, count):
        kept = sum(layer.kept for layer in layers.values())
        return [([name], count(kept, kept)) for name in layers]


class WithinRows(Scope):
    """Compares within what is neither an output nor an input."""

    name = "within-rows"
    within = "row"

    def shares(self, layers, count):
        return [([name], count(layer.kept, layer.size)) for name, layer in layers.items()]


class WithinOutputsOfAll(Scope):
    """Compares within outputs of several layers at once."""

    name = "within-outputs-of-all"
    within = "output"

    def shares(self, layers, count):
        kept = sum(layer.kept for layer in layers.values())
        return [(list(layers), count(kept, kept))]


class Stops(Scope):
    """Never empties a layer."""

    name = "stops"

    def shares(self, layers, count):
        return [([name], min(count(layer.kept, layer.size), max(0, layer.kept - 1)))
                for name, layer in layers.items()]


class Back(SparsitySchedule):
    """Brings weights back at every second level."""

    name = "back"

    def sparsity(self, level):
        return 0.5 + 0.1 * (level % 2)


class Whole(SparsitySchedule):
    """Ends with nothing left."""

    name = "whole"

    def sparsity(self, level):
        return level / 4

    def levels(self):
        return 4


class Silent(Tracker):
    """Has no fault and sends nothing."""

    name = "silent"

    def start(self, run, settings):
        pass

    def log(self, axis, step, values):
        if not all(map(math.isfinite, values.values())):
            raise ValueError("not finite")

    def end(self, figure):
        pass


class NeedsFigure(Silent):
    """Reads the figure that an interrupted run does not have."""

    name = "needs-figure"

    def end(self, figure):
        Path(figure).read_bytes()


class HereIAm(Silent):
    """Writes into the folder that it happens to be in."""

    name = "here-i-am"

    def start(self, run, settings):
        Path("tracked.txt").write_text(run.name)


class Meddles(Silent):
    """Puts its own number among the run's."""

    name = "meddles"

    def start(self, run, settings):
        self._file.append(run.folder / "metrics.jsonl")

    def log(self, axis, step, values):
        file = self._file[-1]
        if axis == "level":
            file.write_text(file.read_text().replace('"metrics": {', '"metrics": {"mine": 1, '))

    _file: list[Path] = []


class DrawsName(Silent):
    """Draws a name for the run."""

    name = "draws-name"

    def start(self, run, settings):
        torch.rand(4)


class OnlyOnce(Silent):
    """Cannot hear of a second run."""

    name = "only-once"
    _started: list[str] = []

    def start(self, run, settings):
        if self._started:
            raise RuntimeError("has a run already")
        self._started.append(run.name)


class Archive(Exporter):
    """Torch's own file, right and without fault."""

    name = "archive"
    suffix = ".pt"

    def write(self, source, path):
        torch.save(source.network.state_dict(), path)
        return {"tensors": len(source.network.state_dict())}

    def load(self, path, source):
        network = copy.deepcopy(source.network)
        network.load_state_dict(torch.load(path, weights_only=True))
        return network


class WritesHalf(Archive):
    """Leaves the end out."""

    name = "writes-half"

    def write(self, source, path):
        super().write(source, path)
        path.write_bytes(path.read_bytes()[:500])
        return {}


class WritesNothing(Archive):
    """Writes where it likes."""

    name = "writes-nothing"

    def write(self, source, path):
        return super().write(source, path.with_name("mine.pt"))


class WritesElsewhere(Archive):
    """Writes a second file."""

    name = "writes-elsewhere"

    def write(self, source, path):
        path.with_name("notes.txt").write_text("pruned")
        return super().write(source, path)


class WritesHere(Archive):
    """Writes a file in the current folder."""

    name = "writes-here"

    def write(self, source, path):
        Path("log.txt").write_text("pruned")
        return super().write(source, path)


class RoundsWeights(Archive):
    """Writes numbers of 16 bits."""

    name = "rounds-weights"

    def write(self, source, path):
        torch.save({name: tensor.half().float() for name, tensor in
                    source.network.state_dict().items()}, path)
        return {}


class FixesBatch(Archive):
    """Computes with batches of the example's size."""

    name = "fixes-batch"

    def load(self, path, source):
        network = super().load(path, source)
        return lambda inputs: network(inputs.expand(2, *inputs.shape[1:]))


class Unties(Archive):
    """Writes a tied weight as zeros under its second name."""

    name = "unties"

    def write(self, source, path):
        firsts = {name for name, _ in source.network.named_parameters()}
        names = dict(source.network.named_parameters(remove_duplicate=False))
        torch.save({name: torch.zeros_like(tensor) if name in names and name not in firsts
                    else tensor for name, tensor in source.network.state_dict().items()}, path)
        return {}


class ChangesNetwork(Archive):
    """Folds something into the network that it was given."""

    name = "changes-network"

    def write(self, source, path):
        written = super().write(source, path)
        with torch.no_grad():
            next(source.network.parameters()).mul_(2)
        return written


class Tensors(Archive):
    """Returns facts that JSON cannot hold."""

    name = "tensors"

    def write(self, source, path):
        super().write(source, path)
        return {"weights": torch.ones(2)}


class ForgetsLayerwise(Optimizer):
    """Remembers the gradients of each parameter where no checkpoint finds them."""

    name = "forgets-layerwise"

    def make_named(self, parameters, lr, weight_decay):
        made = torch.optim.SGD(parameters.values(), lr=lr)
        means = {}

        def mean(optimizer, *_):
            for name, one in parameters.items():
                means[name] = 0.9 * means.get(name, 0) + one.grad
                one.grad.copy_(means[name])

        made.register_step_pre_hook(mean)
        return made


class MatricesOnly(Optimizer):
    """Leaves out everything that is no matrix."""

    name = "matrices-only"

    def make_named(self, parameters, lr, weight_decay):
        return torch.optim.SGD([one for one in parameters.values() if one.dim() == 2], lr=lr)


class FixedLayerRates(Optimizer):
    """Sets the rate of the last group itself."""

    name = "fixed-layer-rates"

    def make_named(self, parameters, lr, weight_decay):
        made = torch.optim.SGD([{"params": [one]} for one in parameters.values()], lr=lr)
        made.register_step_pre_hook(lambda one, *_: one.param_groups[-1].update(lr=lr))
        return made

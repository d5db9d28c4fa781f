"""Plugins with one fault each, as their authors may well write them."""

from __future__ import annotations

import pickle
import random
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import ConfigDict, Field, PrivateAttr
from torch import nn

from sdd_core import (
    Ablation,
    DataSource,
    Dense,
    LabelNoise,
    Loss,
    Metric,
    Model,
    Pruner,
    Retraining,
    Schedule,
    Split,
    hookimpl,
)
from sdd_core.testing.fixtures import TinyData, TinyNetwork


class ScoresExempt(Pruner):
    """Scores every layer, those that are exempt as well."""

    name = "scores-exempt"

    def scores(self, level):
        return {name: level.weights[name].abs() for name in level.masks}


class Exits(Pruner):
    """Ends the process."""

    name = "exits"

    def scores(self, level):
        raise SystemExit(0)


class GlobalDraws(Pruner):
    """Draws from torch's global generator."""

    name = "global-draws"

    def scores(self, level):
        return {name: torch.rand(level.masks[name].shape) for name in level.prunable}


class InPlace(Pruner):
    """Takes absolute values of the level's own tensors."""

    name = "in-place"

    def scores(self, level):
        return {name: level.weights[name].abs_() for name in level.prunable}


class EmptyLayers(Pruner):
    """Asks for the smallest weight that is left of a layer, until nothing is."""

    name = "empty-layers"

    def scores(self, level):
        weights, masks = level.weights, level.masks
        return {n: weights[n].abs() / weights[n][masks[n]].abs().min() for n in level.prunable}


class FlatScores(Pruner):
    """Forgets the shape of the layers."""

    name = "flat-scores"

    def scores(self, level):
        return {name: level.weights[name].abs().flatten() for name in level.prunable}


class Remembers(Pruner):
    """Weights of one level with another level's: what it says depends on what it was asked."""

    name = "remembers"
    seen: ClassVar[list[Any]] = []

    def scores(self, level):
        self.seen.append(1)
        return {name: level.weights[name].abs() * (-1) ** len(self.seen) for name in level.prunable}


class Tires(Schedule):
    """Trains with a smaller learning rate once it has been asked often."""

    name = "tires"
    asked: ClassVar[list[int]] = []

    def retraining(self, dense):
        self.asked.append(1)
        # The kit has asked 23 times when its run without interruptions has ended.
        rate = 0.05 if len(self.asked) <= 23 else 0.01
        return Retraining("previous", np.full(len(dense.learning_rates), rate))


class NoSteps(Schedule):
    """Trains a tenth of the dense training, however short that was, from an unknown start."""

    name = "no-steps"

    def retraining(self, dense):
        return Retraining("beginning", dense.learning_rates[::10])  # type: ignore[arg-type]


class ShorterEachLevel(Schedule):
    """Trains a tenth less at each level, and not at all at late ones."""

    name = "shorter-each-level"

    def retraining(self, dense):
        steps = max(0, 10 - dense.level) * len(dense.learning_rates) // 10
        return Retraining("previous", dense.learning_rates[:steps])


class WritesRates(Schedule):
    """Halves the dense network's learning rates in place."""

    name = "writes-rates"

    def retraining(self, dense):
        rates = dense.learning_rates
        rates /= 2
        return Retraining("previous", rates)


class NotANumber(Metric):
    """Divides by the number of weights that are left."""

    name = "not-a-number"

    def measure(self, level):
        kept = sum(mask.sum() for mask in level.masks.values())
        return {"mean": sum(w.abs().sum() for w in level.weights.values()) / kept}


class Sorts(Metric):
    """Sorts the labels where they lie."""

    name = "sorts"

    def measure(self, level):
        labels = level.data.train.labels
        labels.copy_(labels.sort().values)
        return {"first": int(labels[0])}


class Gappy(Metric):
    """Has a value only where something is pruned."""

    name = "gappy"

    def measure(self, level):
        return {"share": 0.5} if level.level else {}


class Pickled(Metric):
    """Reads what it knows from a pickle."""

    name = "pickled"
    known: ClassVar[bytes] = pickle.dumps(np.float64(3.0))

    def measure(self, level):
        return {"known": float(pickle.loads(self.known))}


class CorruptsTruth(LabelNoise):
    """Writes into the labels that it is given."""

    name = "corrupts-truth"

    def corrupt(self, labels, data, generator):
        count = round(self.rate * len(labels))
        labels[torch.randperm(len(labels), generator=generator)[:count]] = 0
        return labels


class AtLeastOne(LabelNoise):
    """Draws at least one label, at rate 0 as well."""

    name = "at-least-one"

    def corrupt(self, labels, data, generator):
        noisy = labels.clone()
        count = 1 + round(self.rate * len(labels))
        chosen = torch.randperm(len(labels), generator=generator)[:count]
        noisy[chosen] = (noisy[chosen] + 1) % data.num_classes
        return noisy


class OneTooMany(LabelNoise):
    """Draws a class that does not exist."""

    name = "one-too-many"

    def corrupt(self, labels, data, generator):
        last = labels == data.num_classes - 1
        return torch.where(last, labels + 1, labels) if self.rate else labels


class OwnDice(LabelNoise):
    """Draws from numpy's generator instead of its own."""

    name = "own-dice"

    def corrupt(self, labels, data, generator):
        noisy = labels.clone()
        noisy[np.random.rand(len(labels)) < self.rate] = 0
        return noisy


class Shuffled(DataSource):
    """Another order of the examples each time."""

    name = "shuffled"

    def load(self, root):
        data = TinyData().load(root)
        order = random.Random().sample(range(len(data.train)), len(data.train))
        train = Split(data.train.images[order], data.train.labels[order])
        return replace(data, train=train)


class DoubleImages(DataSource):
    """Images in double precision."""

    name = "double-images"

    def load(self, root):
        data = TinyData().load(root)
        splits = (Split(s.images.double(), s.labels) for s in (data.train, data.test))
        train, test = splits
        return replace(data, train=train, test=test)


class NumpyWeights(Model):
    """Initialised by numpy."""

    name = "numpy-weights"

    def build(self, input_shape, num_classes):
        network = nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(input_shape)), num_classes))
        weight = np.random.default_rng().normal(size=network[1].weight.shape)
        network[1].weight.data = torch.tensor(weight, dtype=torch.float32)
        return network


class WrongClasses(Model):
    """Always ten outputs and one more."""

    name = "wrong-classes"

    def build(self, input_shape, num_classes):
        return nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(input_shape)), num_classes + 1))


class ExemptsNothing(TinyNetwork):
    """Exempts a layer that it does not have."""

    name = "exempts-nothing"

    def build(self, input_shape, num_classes):
        return nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(input_shape)), num_classes))

    def exempt(self):
        return ("classifier",)


class Sums(Loss):
    """The sum over the batch."""

    name = "sums"

    def loss(self, logits, labels, teacher):
        return nn.functional.cross_entropy(logits, labels, reduction="sum")


class Overflows(Loss):
    """Takes the logarithm of a probability that may be zero."""

    name = "overflows"

    def loss(self, logits, labels, teacher):
        chosen = logits.softmax(1).gather(1, labels[:, None])
        return -(chosen / (chosen > 1e-20)).log().mean()


class PrunesExempt(Ablation):
    """Prunes the exempt layers as well."""

    name = "prunes-exempt"

    def masks(self, level):
        return {name: torch.zeros_like(mask) for name, mask in level.masks.items()}


class LongerThanAsked(Ablation):
    """Masks more steps than it trains."""

    name = "longer-than-asked"

    def retraining(self, dense: Dense, retraining: Retraining, level: int) -> Retraining:
        return replace(retraining, masked_steps=len(retraining.learning_rates) + 1)


class GoodScores(Pruner):
    """Small weights go."""

    name = "good"

    def scores(self, level):
        return {name: level.weights[name].abs() for name in level.prunable}


class Undocumented(GoodScores):
    """An option that nobody explains."""

    batches: int = Field(1, ge=1)


class BadDefault(GoodScores):
    """A default outside its own bounds."""

    batches: int = Field(0, ge=1, description="batches")


class Boundless(GoodScores):
    """An option that may be any number."""

    batches: int = Field(1, description="batches")


class Infinite(GoodScores):
    """An option that may be infinite."""

    temperature: float = Field(1.0, gt=0, allow_inf_nan=True, description="temperature")


class Untyped(GoodScores):
    """An option that only a pickle could hold."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    start: torch.Tensor = Field(torch.zeros(1), description="where to start")


class Unset(GoodScores):
    """An option that TOML cannot set to what it may be."""

    rounds: int | None = Field(5, ge=1, description="rounds")


class Spaced(GoodScores):
    """A name that nobody can type."""

    name = "two words"


class Wordless(GoodScores):
    name = "wordless"


class Ignores(GoodScores):
    """Takes every option, and ignores it."""

    model_config = ConfigDict(extra="ignore")


class Grumbles:
    """An observer that fails when a level ends."""

    @hookimpl
    def sdd_level_end(self, level: Any) -> None:
        raise ValueError(f"level {level.level} is not to my liking")


class Misspelt:
    """An observer with a hook that does not exist."""

    @hookimpl
    def sdd_level_ends(self, level: Any) -> None:
        """Never called."""


class ObservesItself(Pruner):
    """Keeps what it observes on itself, not in the state."""

    name = "observes-itself"
    _sums: dict[str, torch.Tensor] = PrivateAttr(default_factory=dict)

    def observe(self, state, step):
        if step.step == 0:
            self._sums.clear()
        for name, gradient in step.gradients.items():
            self._sums[name] = self._sums.get(name, 0) + gradient

    def scores(self, level):
        return {name: self._sums.get(name, level.weights[name]).abs() for name in level.prunable}


SUMS: dict[str, torch.Tensor] = {}


class ObservesInItsModule(Pruner):
    """Keeps a running mean in its module, and only shows it to the state."""

    name = "observes-in-its-module"

    def observe(self, state, step):
        for name, gradient in step.gradients.items():
            SUMS[name] = 0.9 * SUMS[name] + gradient if name in SUMS else gradient
            state[name] = SUMS[name]

    def scores(self, level):
        return {name: level.observed.get(name, level.weights[name]) for name in level.prunable}


class ObservesFraction(Pruner):
    """Observes only as many steps as its fraction says."""

    name = "observes-fraction"

    def observe(self, state, step):
        if step.step < self.fraction * step.steps:
            state.update(step.gradients)

    def scores(self, level):
        return {name: level.observed.get(name, level.weights[name]) for name in level.prunable}


class ObservesNumbers(Pruner):
    """Puts a number into the state."""

    name = "observes-numbers"

    def observe(self, state, step):
        state["steps"] = step.step

    def scores(self, level):
        return {name: level.weights[name].abs() for name in level.prunable}

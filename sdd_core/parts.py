"""The parts of an experiment, made once: data with its noise, networks, what may be pruned."""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from sdd_core import masks as masking
from sdd_core.data import Dataset, Split
from sdd_core.errors import SddError
from sdd_core.evaluation import check_output
from sdd_core.experiment import Experiment
from sdd_core.guard import Guard
from sdd_core.plugin import Schedule, Sparsities, label
from sdd_core.randomness import generator
from sdd_core.retraining import Dense, Retraining
from sdd_core.training.loop import dense_learning_rates
from sdd_core.training.pretrained import load_pretrained
from sdd_core.training.resident import Resident


class Parts:
    """What an experiment's settings stand for.

    dense: how the dense network trains. resident: the data on the device.
    """

    def __init__(self, experiment: Experiment, root: Path | None, device: torch.device) -> None:
        """Raises SddError for what can be known before anything is trained or written."""
        self.experiment = experiment
        self.device = device
        self.guard = Guard(experiment.seed)
        self.data = self._load(root)
        self.guard.watch(self.data)
        self.resident = Resident(self.data, device, experiment.train.augment)
        steps_per_epoch = math.ceil(len(self.data.train) / experiment.train.batch_size)
        rates = dense_learning_rates(experiment.train, steps_per_epoch)
        self.dense = Dense(rates, steps_per_epoch)
        self._check()

    def build(self, level: int) -> nn.Module:
        """The network as it is initialised for a level: 0 the dense one, else a fresh one."""
        model = self.experiment.model
        make = model.fresh if level else model.build
        with self.guard.asking(model, "initialisation", level):
            network = make(self.data.input_shape, self.data.num_classes)
        if not isinstance(network, nn.Module):
            raise SddError(f"model {label(model)!r} returned {type(network).__name__}; expected a "
                           "torch.nn.Module")
        if any(isinstance(p, UninitializedParameter) for p in network.parameters()):
            raise SddError(f"model {label(model)!r} has lazy layers, whose weights have no shape "
                           "yet; give their sizes")
        for name, parameter in network.named_parameters():
            if parameter.requires_grad and parameter.dtype != torch.float32:
                raise SddError(f"model {label(model)!r} has the parameter {name!r} of type "
                               f"{parameter.dtype}; expected torch.float32 for all that trains")
        # Torch's usual layout, whatever the model's was: `training.trainer.memory_format` says why.
        return network.to(memory_format=torch.contiguous_format)

    def start(self) -> nn.Module:
        """The dense network before its first step: as it is initialised, or pretrained."""
        network, train = self.build(0), self.experiment.train
        if train.pretrained is not None and (left := load_pretrained(network, train)):
            print(f"sdd: train.pretrained: {', '.join(left)} of the last layer are not taken from "
                  f"{train.pretrained}, whose shapes differ, but initialised", file=sys.stderr)
        return network

    @cached_property
    def prunable(self) -> dict[str, Tensor]:
        """The weights of the layers that can be pruned, exempt ones too, by name."""
        return masking.prunable_weights(self.build(0))

    @cached_property
    def trainable(self) -> list[str]:
        """The names of the parameters that are trained."""
        return [name for name, p in self.build(0).named_parameters() if p.requires_grad]

    @cached_property
    def exempt(self) -> frozenset[str]:
        """The weights that are never pruned."""
        asked, model = self.experiment.pruner.exempt, self.experiment.model
        with self.guard.asking(model, "exempt"):
            patterns = tuple(model.exempt() if asked is None else asked)
        return masking.exempt_weights(self.prunable, patterns)

    def sparsity(self, level: int) -> float | None:
        """What level 1 and up are pruned to; None where each loses a fraction."""
        given = self.experiment.pruner.sparsity
        if not isinstance(given, Sparsities):
            return given[level - 1] if given else None
        with self.guard.asking(given, "sparsity", level):
            before = given.sparsity(level - 1) if level > 1 else 0.0
            found = given.sparsity(level)
        if not isinstance(found, int | float) or not before <= found < 1:
            raise SddError(f"sparsity {label(given)!r} gives {found!r} at level {level}; expected "
                           f"at least the {before} of the level before and less than 1")
        return float(found)

    def retraining(self, level: int, schedule: Schedule | None = None) -> Retraining:
        """How a level trains by a schedule, if not the experiment's own; the dense one from its
        initialisation."""
        if level == 0:
            return Retraining("initialisation", self.dense.learning_rates)
        schedule = schedule or self.experiment.retrain
        with self.guard.asking(schedule, "schedule", level):
            return schedule.retraining(self._dense_copy()).check(schedule.name, self.dense)

    def ablated_retraining(self, level: int) -> Retraining:
        """How a level trains under the experiment's ablation."""
        ablation = self.experiment.ablation
        assert ablation is not None
        with self.guard.asking(ablation, "ablation", level):
            retraining = ablation.retraining(self._dense_copy(), self.retraining(level), level)
            return retraining.check(ablation.name, self.dense)

    def _dense_copy(self) -> Dense:
        return replace(self.dense, learning_rates=self.dense.learning_rates.copy())

    def _load(self, root: Path | None) -> Dataset:
        """The data with its label noise, and of the training examples as many as are wanted."""
        source, noise, seed = self.experiment.data, self.experiment.noise, self.experiment.seed
        with self.guard.asking(source, "data"):
            clean = source.load(root).check()
        with self.guard.asking(noise, "noise"):
            draw = generator(seed, "label noise")
            noisy = noise.corrupt(clean.train.labels.clone(), clean, draw)
            data = replace(clean, train=replace(clean.train, labels=noisy)).check()
        if source.examples is None:
            return data
        if source.examples > len(data.train):
            raise SddError(f"data.examples is {source.examples}, but {source.name!r} has only "
                           f"{len(data.train)} training examples")
        # After the noise: an example's label does not depend on how many others there are.
        order = torch.randperm(len(data.train), generator=generator(seed, "examples"))
        chosen = order[: source.examples].sort().values
        train = data.train
        few = Split(train.images[chosen], train.labels[chosen], train.true_labels[chosen])
        return replace(data, train=few)

    def _check(self) -> None:
        train = self.experiment.train
        check_output(self.build(0).to(self.device), self.data, self.device,
                     label(self.experiment.model), train.batch_size)
        if not train.optimizer.momentum_sgd:
            with self.guard.asking(train.optimizer, "optimizer"):
                train.optimizer.make(torch.zeros(1), train.lr, train.weight_decay)
        if train.pretrained is not None:
            load_pretrained(self.build(0), train)
        if self.experiment.levels == 0:
            return  # only the dense network, which others may share
        _ = self.exempt
        self.sparsity(self.experiment.levels)
        starts = {self.retraining(1).start}
        if self.experiment.ablation is not None:
            starts.add(self.ablated_retraining(1).start)
        if "fresh" in starts:
            self.build(1)

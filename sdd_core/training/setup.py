"""The setup of an experiment: data with label noise, networks, prunable weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sdd_core.data.plain import real
from sdd_core.data.resident import DeviceDataset
from sdd_core.errors import SddError
from sdd_core.experiment.build import make_network
from sdd_core.experiment.experiment import Experiment
from sdd_core.level import masks as masking
from sdd_core.level.evaluation import check_output
from sdd_core.level.layers import Layout
from sdd_core.level.masks import Masks
from sdd_core.level.naming import matches
from sdd_core.level.normed import keep_zeros
from sdd_core.level.retraining import Dense, Retraining, checked
from sdd_core.output.notices import say
from sdd_core.plugin.isolation import Guard
from sdd_core.plugin.kinds import Schedule, SparsitySchedule, label
from sdd_core.plugin.pattern import parse_pattern
from sdd_core.pruning.moving import Course, plan_course
from sdd_core.pruning.rules import Rules
from sdd_core.pruning.shares import by_fraction, to_sparsity
from sdd_core.training.checks import (
    check_observed,
    check_optimizer,
    check_pruning,
    check_sparse_training,
)
from sdd_core.training.learning_rates import dense_learning_rates
from sdd_core.training.noisy_data import load_noisy
from sdd_core.training.pretrained import load_pretrained


class ExperimentSetup:
    """The objects that an experiment's settings describe.

    dense: the dense network's training. resident: the data on the device. changed_labels: the
    number of training labels that the label noise changed.
    """

    def __init__(self, experiment: Experiment, root: Path | None, device: torch.device) -> None:
        """Load the data and check the experiment. Raises SddError for all errors that can be found
        before anything is trained or written."""
        self.experiment = experiment
        self.device = device
        self.guard = Guard(experiment.seed)
        self.data, self.changed_labels = load_noisy(experiment, root, self.guard)
        self.guard.watch(self.data)
        self.resident = DeviceDataset(self.data, device, experiment.train.augment)
        steps_per_epoch = math.ceil(len(self.data.train) / experiment.train.batch_size)
        rates = dense_learning_rates(experiment.train, steps_per_epoch)
        self.dense = Dense(rates, steps_per_epoch)
        self._check()

    def build(self, level: int) -> nn.Module:
        """Return the network initialised for a level: the dense one for 0, else a fresh one."""
        data = self.data
        return keep_zeros(make_network(self.experiment.model, data.input_shape, data.num_classes,
                                       self.guard, level))

    def start(self) -> nn.Module:
        """Return the dense network before its first step: initialised, or pretrained."""
        network, train, model = self.build(0), self.experiment.train, self.experiment.model
        with self.guard.isolated(model, "notes"):
            lines = list(model.notes(self.data.input_shape, self.data.num_classes))
        for line in lines:
            say(f"sdd: model {label(model)!r}: {line}")
        if train.pretrained is not None:
            for line in load_pretrained(network, train):
                say(f"sdd: train.pretrained: {line}")
        return network

    def start_masks(self, names: Iterable[str]) -> dict[str, Tensor]:
        """Return masks of what is not exactly zero in the dense network before its first step."""
        network, train = self.build(0), self.experiment.train
        if train.pretrained is not None:
            load_pretrained(network, train)
        return masking.nonzero_masks(network.state_dict(), names)

    @cached_property
    def given_masks(self) -> dict[str, Tensor] | None:
        """The masks of level 0, if the network comes in with its zeros; None if it is dense."""
        if self.experiment.pruner.start != "as-is":
            return None
        return self.start_masks(self.prunable)

    @cached_property
    def known(self) -> dict[str, Tensor]:
        """The weights that can be pruned without `pruner.include`, by name. The dense network has
        masks for them, because experiments with other pruners share it."""
        return masking.known_weights(self.build(0))

    @cached_property
    def prunable(self) -> dict[str, Tensor]:
        """The weights that can be pruned, with included and exempt ones, by name."""
        return masking.prunable_weights(self.build(0), self.experiment.pruner.include or ())

    @cached_property
    def rules(self) -> Rules:
        """The rules for the choice of weights to prune."""
        pruner = self.experiment.pruner
        layouts: dict[str, Layout] = {}
        pattern = parse_pattern(pruner.pattern)
        if pruner.scope.within is not None or pattern is not None:
            layouts = masking.layouts_of(self.build(0))
        return Rules(pruner.prune_ties, pruner.keep_at_least, layouts, pattern,
                           pruner.pattern_score)

    @cached_property
    def trainable(self) -> list[str]:
        """The names of the parameters that are trained."""
        return [name for name, p in self.build(0).named_parameters() if p.requires_grad]

    @cached_property
    def exempt(self) -> frozenset[str]:
        """The weights that are never pruned: those that `pruner.exempt` names, or else those that
        the model's authors exempt, except those that `pruner.include` names."""
        pruner, model = self.experiment.pruner, self.experiment.model
        if pruner.exempt is not None:
            return masking.exempt_weights(self.prunable, pruner.exempt)
        with self.guard.isolated(model, "exempt"):
            patterns = _patterns(model.exempt())
        included = {name for name in self.prunable
                    if any(matches(name, pattern) for pattern in pruner.include or ())}
        return masking.exempt_weights(self.prunable, patterns) - included

    def sparsity(self, level: int) -> float | None:
        """Return the sparsity of a level, 1 or more; None if each level prunes a fraction."""
        schedule = self.experiment.pruner.sparsity
        if not isinstance(schedule, SparsitySchedule):
            return schedule[level - 1] if schedule else None
        with self.guard.isolated(schedule, "sparsity", level):
            before = schedule.sparsity(level - 1) if level > 1 else 0.0
            before, found = real(before), real(schedule.sparsity(level))
        if not before <= found < 1:
            raise SddError(f"sparsity {label(schedule)!r} gives {found!r} at level {level}; "
                           f"expected at least the {before} of the level before and less than 1")
        return found

    def count(self, level: int) -> Callable[[int, int], int]:
        """Return a function for a level, 1 or more: `count(kept, size)` is the number of weights to
        prune if `kept` of `size` weights remain."""
        sparsity, fraction = self.sparsity(level), self.experiment.pruner.fraction
        return by_fraction(fraction) if sparsity is None else to_sparsity(sparsity)

    def retraining(self, level: int, schedule: Schedule | None = None) -> Retraining:
        """Return the retraining of a level by a schedule (default: the experiment's); for level 0,
        the training from initialisation."""
        if level == 0:
            return Retraining("initialisation", self.dense.learning_rates)
        schedule = schedule or self.experiment.retrain
        epochs, dense = schedule.engine_epochs(), self._dense_for(level)
        if epochs and not len(dense.learning_rates):
            # The schedule needs learning rates: those of a dense training that is as long.
            train = self.experiment.train.model_copy(update={"epochs": epochs})
            rates = dense_learning_rates(train, dense.steps_per_epoch)
            dense = replace(dense, learning_rates=rates)
        untrained = not len(dense.learning_rates)
        with self.guard.isolated(schedule, "schedule", level):
            found = checked(schedule.retraining(dense), schedule.name, self.dense,
                            untrained=untrained or schedule.epochs == 0)
        return found if epochs is None else found.over(epochs * dense.steps_per_epoch)

    def course(
        self, level: int, retraining: Retraining, before: Masks, after: Masks
    ) -> Course | None:
        """Return the course of the masks of a level, 1 or more, from those before its pruning and
        those of the pruner; None if they do not move. Raises SddError for an invalid one."""
        plugin = self.experiment.sparse_training
        if plugin is None:
            return None
        with self.guard.isolated(plugin, "sparse training", level):
            return plan_course(
                plugin, len(retraining.learning_rates), self.dense.steps_per_epoch, level=level,
                seed=self.experiment.seed, before=before, after=after, exempt=self.exempt,
                scope=self.experiment.pruner.scope, rules=self.rules._replace(prune_ties=False),
            )

    def ablated_retraining(self, level: int) -> Retraining:
        """Return the retraining of a level under the experiment's ablation."""
        ablation = self.experiment.ablation
        assert ablation is not None
        with self.guard.isolated(ablation, "ablation", level):
            usual = self.retraining(level)
            untrained = not (len(usual.learning_rates) and len(self.dense.learning_rates))
            retraining = ablation.retraining(self._dense_for(level), usual, level)
            return checked(retraining, ablation.name, self.dense, of_ablation=True,
                           untrained=untrained)

    def lifts_masks(self, level: int) -> bool:
        """Return whether pruned weights train again before a level's training ends."""
        if level == 0:
            return False
        ablated = self.experiment.ablation is not None
        retraining = self.ablated_retraining(level) if ablated else self.retraining(level)
        masked = retraining.masked_steps
        return masked is not None and masked < len(retraining.learning_rates)

    def _dense_for(self, level: int) -> Dense:
        """Return a copy of the dense training for the retraining of a level."""
        return replace(self.dense, learning_rates=self.dense.learning_rates.copy(), level=level)

    def _check(self) -> None:
        experiment, train = self.experiment, self.experiment.train
        check_output(self.build(0).to(self.device), self.data, self.device,
                     label(experiment.model), train.batch_size)
        check_optimizer(train, self.build(0), self.guard)
        if train.pretrained is not None:
            load_pretrained(self.build(0), train)
        if experiment.levels == 0:
            return  # only the dense network, which does not depend on the pruner
        self.sparsity(experiment.levels)
        masks = self.given_masks or masking.full_masks(self.prunable)
        check_pruning(experiment, masks, self.exempt, self.rules, self.count, self.sparsity(1))
        retrainings = [self.retraining(level) for level in range(experiment.levels + 1)]
        check_sparse_training(experiment, retrainings[1:], self.rules)
        self._check_courses(retrainings)
        starts: dict[str, int] = {}
        for level, retraining in enumerate(retrainings[1:], 1):
            starts.setdefault(retraining.start, level)
            if experiment.ablation is not None:
                starts.setdefault(self.ablated_retraining(level).start, level)
        if "fresh" in starts:
            self.build(starts["fresh"])
        check_observed(experiment.pruner, retrainings)

    def _check_courses(self, retrainings: list[Retraining]) -> None:
        """Raise SddError for an invalid course of moving masks."""
        masks = masking.full_masks(self.prunable)
        planned = {0}
        for level, retraining in enumerate(retrainings[1:], 1):
            if (steps := len(retraining.learning_rates)) not in planned:
                planned.add(steps)
                self.course(level, retraining, masks, masks)


def _patterns(found: Any) -> tuple[str, ...]:
    """Return what a model's `exempt` returned as a tuple of patterns. Raises TypeError for anything
    else, including a str, which would be read as a sequence of letters."""
    patterns = () if isinstance(found, str) else tuple(found)
    if isinstance(found, str) or not all(isinstance(one, str) for one in patterns):
        raise TypeError(f"exempt() returned {found!r}; expected a tuple of patterns")
    return patterns

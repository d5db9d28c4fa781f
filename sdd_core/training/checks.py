"""Checks of an experiment before anything is trained or written."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import torch
from torch import nn

from sdd_core.errors import SddError
from sdd_core.experiment.experiment import Experiment
from sdd_core.experiment.train import Train
from sdd_core.level import masks as masking
from sdd_core.level.masks import Masks
from sdd_core.level.retraining import Retraining
from sdd_core.plugin.isolation import Guard
from sdd_core.plugin.kinds import Pruner, label
from sdd_core.plugin.kinds.scope import Layer
from sdd_core.pruning.floor import check_floor
from sdd_core.pruning.rules import Rules, check_pattern, check_together
from sdd_core.training.optimizer_state import TorchOptimizers


def check_optimizer(train: Train, network: nn.Module, guard: Guard) -> None:
    """Raise SddError if the optimizer cannot take a step with the network's parameters."""
    if train.optimizer.sgd_momentum is not None:
        return
    parameters = {n: p for n, p in network.named_parameters() if p.requires_grad}
    for parameter in parameters.values():
        parameter.grad = torch.zeros_like(parameter)
    with guard.isolated(train.optimizer, "optimizer"):
        TorchOptimizers(train, torch.zeros(1), parameters)


def check_pruning(
    experiment: Experiment,
    masks: Masks,
    exempt: Collection[str],
    rules: Rules,
    counts: Callable[[int], Callable[[int, int], int]],
    first: float | None,
) -> None:
    """Raise SddError if the settings leave nothing to prune at some level, or contradict each
    other. masks: those of level 0. counts: returns the `count` function of a level. first: the
    sparsity of level 1, if it is given."""
    pruner = experiment.pruner
    layers = {name: Layer(int(mask.sum()), tuple(mask.shape))
              for name, mask in masks.items() if name not in exempt}
    given = masking.sparsity(masks, layers)
    if first is not None and first < given:
        raise SddError(f"pruner.sparsity {first:g} of level 1 is less than the {given:g} that "
                       "the network has already; begin with a larger one, or set pruner.start "
                       'to "dense"')
    check_together(pruner.scope, pruner.prune_ties)
    check_pattern(layers, rules)
    floors: dict[str, float] = {}
    if pruner.keep_at_least is not None:
        floors[f"pruner.keep_at_least {pruner.keep_at_least:g}"] = pruner.keep_at_least
    if (pattern := rules.pattern) is not None and pattern.keep is not None:
        floors[f"pruner.pattern {pattern.text!r}"] = pattern.keep / pattern.size[1]
    for setting, floor in floors.items():
        check_floor(layers, pruner.scope, counts, experiment.levels, floor, setting)


def check_sparse_training(
    experiment: Experiment, retrainings: Sequence[Retraining], rules: Rules
) -> None:
    """Raise SddError if the masks cannot move in this experiment. retrainings: those of the pruned
    levels."""
    plugin = experiment.sparse_training
    if plugin is None:
        return
    problems = {
        "ablation, which changes masks or training": experiment.ablation is not None,
        f"retrain.pruned {experiment.retrain.pruned!r}, which holds pruned weights at other "
        "values than zero": experiment.retrain.pruned != "zero",
        "a retraining schedule that trains pruned weights":
            any(one.masked_steps is not None for one in retrainings),
        'pruner.start "as-is", which never trains the zeros of the given network':
            experiment.pruner.start == "as-is",
        f"pruner.pattern {experiment.pruner.pattern!r}, which its masks do not follow":
            rules.pattern is not None and not plugin.patterns,
    }
    for what, found in problems.items():
        if found:
            raise SddError(f"sparse_training {label(plugin)!r} cannot be combined with {what}; "
                           "leave one of them out")


def check_observed(pruner: Pruner, retrainings: Sequence[Retraining]) -> None:
    """Raise SddError if the pruner observes training, and a level to prune is not trained.
    retrainings: those of all levels, from level 0 on."""
    if not pruner.observes():
        return
    pruned = retrainings[:1] if pruner.from_dense else retrainings[:-1]
    for level, retraining in enumerate(pruned):
        if not len(retraining.learning_rates):
            raise SddError(f"pruner {label(pruner)!r} scores what it observes while a level "
                           f"trains, but level {level} is not trained; train it "
                           f"({'retrain' if level else 'train'}.epochs), or choose another "
                           "pruner")

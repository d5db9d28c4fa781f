"""What a user should know about an experiment before it begins, in one line each."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from sdd_core.data.dataset import Dataset
from sdd_core.level import masks as masking
from sdd_core.level.inspection import parameters_of, too_little
from sdd_core.level.naming import listed
from sdd_core.output.text import percent
from sdd_core.plugin.kinds import label
from sdd_core.training.recalibration import recalibrated_norms
from sdd_core.training.setup import ExperimentSetup

MANY = 0.01
"""Fraction of a weight's numbers above which its zeros are taken for pruned ones."""


def notes(setup: ExperimentSetup) -> Iterator[str]:
    """Yield lines about options without effect, and about what is pruned or cannot be."""
    experiment = setup.experiment
    if experiment.levels:
        include = experiment.pruner.include or ()
        if line := too_little(parameters_of(setup.build(0), setup.exempt, include)):
            yield line
    if experiment.retrain.recalibrate and not recalibrated_norms(setup.build(0)):
        yield ("retrain.recalibrate has no effect: the network has no batch normalisation whose "
               "statistics are estimated in training")
    if experiment.pruner.observes() and experiment.kernels == "auto" and setup.device.type == "cpu":
        yield (f"pruner {label(experiment.pruner)!r} observes the gradients of all weights, so the "
               "levels that it observes train without the sparse kernels")
    yield from _classes(setup.data)
    yield from _zeros(setup)


def _classes(data: Dataset) -> Iterator[str]:
    """Yield a line about classes that the network cannot learn, because no example shows them."""
    count = data.num_classes
    shown, tested = (torch.bincount(split.true_labels, minlength=count)
                     for split in (data.train, data.test))
    missing = (shown == 0).nonzero().flatten().tolist()
    if not missing:
        return
    line = f"{len(missing):,} of {count:,} classes have no training example ({listed(missing)})"
    if lost := int(tested[missing].sum()):
        examples = "test example belongs" if lost == 1 else "test examples belong"
        yield f"{line}, and {lost:,} {examples} to them"
    else:
        yield (f"{line} and no test example, but each is an output of the network; number the "
               "labels from 0 without gaps to avoid that")


def _zeros(setup: ExperimentSetup) -> Iterator[str]:
    """Yield lines about the zeros with which the network comes in."""
    masks = setup.given_masks
    known = setup.prunable if setup.experiment.levels else setup.known
    if masks is None:
        masks = setup.start_masks(known)
    if not masks:
        return
    share = percent(masking.sparsity(masks))
    if setup.given_masks is None:
        # A layer that is zero as a whole is one that is initialised with zeros.
        if any(MANY < masking.sparsity(masks, [name]) < 1 for name in masks):
            yield (f"{share} of the prunable weights are exactly zero and count as kept; set "
                   'pruner.start to "as-is" to hold them at zero')
        return
    yield f"pruner.start: level 0 has a sparsity of {share}, that of the network as it is"
    if empty := [name for name, mask in masks.items() if not mask.any()]:
        yield f"pruner.start: {listed(empty)} is zero as a whole and stays so"

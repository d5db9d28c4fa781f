"""Chooses how a level is trained."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from sdd_core.experiment import Experiment
from sdd_core.resident import Resident
from sdd_core.trainer import FlatTrainer, Trainer


def make_trainer(
    network: nn.Module,
    masks: Mapping[str, Tensor],
    data: Resident,
    experiment: Experiment,
    momenta: Mapping[str, Tensor] | None = None,
) -> Trainer:
    """The trainer for a network under its masks; `momenta` are those of a checkpoint."""
    return FlatTrainer(network, masks, data, experiment.train, momenta)

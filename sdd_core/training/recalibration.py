"""Measure a level again: after its batch normalisations are estimated anew, or without training."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from sdd_core.data.resident import DeviceDataset
from sdd_core.level.evaluation import evaluate
from sdd_core.level.level import Epoch, Level
from sdd_core.level.retraining import Retraining
from sdd_core.training.setup import ExperimentSetup
from sdd_core.training.states import cpu_state


def measured_again(
    setup: ExperimentSetup, level: Level, retraining: Retraining, batches: int
) -> Level:
    """Return a level whose batch normalisations are estimated over some training batches, measured
    as it then is: instead of its last epoch, or without training as the epoch before the first.

    The level is marked as diverged if a loss is not finite.
    """
    experiment, data = setup.experiment, setup.resident
    per_epoch, step = setup.dense.steps_per_epoch, retraining.first_step
    network = setup.build(0)
    network.load_state_dict(dict(level.state))
    network.to(setup.device)
    with setup.guard.isolated(experiment.model, "training", level.index):
        if batches:
            following = math.ceil((step + len(retraining.learning_rates)) / per_epoch)
            recalibrate(network, training_batches(
                data, batches, experiment.train.batch_size, experiment.seed, level.index, following
            ))
        test_loss, test_accuracy = evaluate(network, data.test_images, data.test_labels, data.data)
        train_loss, train_accuracy = evaluate(network, data.train_images, data.train_labels,
                                              data.data)
    if not math.isfinite(test_loss) or not math.isfinite(train_loss):
        return replace(level, diverged=True)
    *others, last = level.epochs or [Epoch(step // per_epoch, step, 0.0, 0.0, 0.0)]
    last = replace(last, test_loss=test_loss, test_accuracy=test_accuracy, train_loss=train_loss,
                   train_accuracy=train_accuracy)
    return replace(level, state=cpu_state(network), epochs=(*others, last))


def recalibrated_norms(network: nn.Module) -> list[_BatchNorm]:
    """Return the batch normalisations whose statistics training estimates: not those that stay in
    evaluation mode, keep no statistics, or have only frozen parameters."""
    network.train()
    return [module for module in network.modules()
            if isinstance(module, _BatchNorm) and module.training and module.track_running_stats
            and (not (own := list(module.parameters())) or any(p.requires_grad for p in own))]


@torch.no_grad()
def recalibrate(network: nn.Module, batches: Iterable[Tensor]) -> None:
    """Replace the running statistics of batch normalisations by their means over some batches.

    Only the normalisations are in training mode, so that dropout does not change the statistics.
    The network is in evaluation mode afterwards.

    batches: inputs `[batch, ...]`, on the network's device.
    """
    norms = recalibrated_norms(network)
    network.eval()
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a cumulative average
        norm.train()
    for inputs in batches if norms else ():
        network(inputs)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    network.eval()


def training_batches(
    data: DeviceDataset, count: int, batch_size: int, seed: int, level: int, epoch: int
) -> Iterator[Tensor]:
    """Yield `count` training batches, augmented as in training, from the beginning of an epoch on;
    smaller last batches of an epoch are left out. Each is valid until the next one.

    epoch: the epoch with whose order they begin, counted from 0.
    """
    size = min(batch_size, len(data))
    buffer = data.buffer(size)
    while count:
        order, crops = data.order(seed, level, epoch), data.crops(seed, level, epoch)
        for first in range(0, len(data) - size + 1, size)[:count]:
            yield data.batch(order, crops, slice(first, first + size), buffer)
            count -= 1
        epoch += 1

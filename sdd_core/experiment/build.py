"""Make the network and the data of an experiment."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from sdd_core.data.dataset import Dataset
from sdd_core.errors import SddError
from sdd_core.experiment.python_value import check_whole
from sdd_core.level.torch_prune import without_torch_pruning
from sdd_core.plugin.isolation import Guard
from sdd_core.plugin.kinds import DataSource, Model, label


def make_network(
    model: Model, input_shape: tuple[int, ...], classes: int, guard: Guard, level: int = 0
) -> nn.Module:
    """Return the network initialised for a level: the dense one for 0, else a fresh one.

    guard: that of the experiment's seed. Raises SddError if the model fails, or returns something
    that cannot be trained.
    """
    make = model.fresh if level else model.build
    with guard.isolated(model, "initialisation", level):
        network = make(input_shape, classes)
    if not isinstance(network, nn.Module):
        raise SddError(f"model {label(model)!r} returned {type(network).__name__}; expected a "
                       "torch.nn.Module")
    check_whole(network, label(model))
    for name, parameter in network.named_parameters():
        if parameter.requires_grad and parameter.dtype != torch.float32:
            raise SddError(f"model {label(model)!r} has the parameter {name!r} of type "
                           f"{parameter.dtype}; expected torch.float32 for all trainable "
                           "parameters")
    # Torch's default layout for all models; see `training.dense_trainer.memory_format`.
    return without_torch_pruning(network).to(memory_format=torch.contiguous_format)


def load_data(source: DataSource, root: Path | None, guard: Guard) -> Dataset:
    """Return the data of a source, without label noise. Raises SddError if they are not there, or
    cannot be trained on."""
    with guard.isolated(source, "data"):
        data = source.load(root)
        if not isinstance(data, Dataset):
            raise TypeError(f"load() returned {type(data).__name__}; expected a sdd_core.Dataset")
        return data.check()

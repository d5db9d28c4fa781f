"""The data of an experiment, with label noise."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from sdd_core.data.dataset import Dataset
from sdd_core.data.split import Split
from sdd_core.errors import SddError
from sdd_core.experiment.build import load_data
from sdd_core.experiment.experiment import Experiment
from sdd_core.plugin.isolation import Guard
from sdd_core.randomness import generator


def load_noisy(experiment: Experiment, root: Path | None, guard: Guard) -> tuple[Dataset, int]:
    """Return the data with label noise and with `data.examples` training examples, and the number
    of their labels that the noise changed."""
    source, noise, seed = experiment.data, experiment.noise, experiment.seed
    clean = load_data(source, root, guard)
    with guard.isolated(noise, "noise"):
        noisy = noise.corrupt(clean.train.labels.clone(), clean, generator(seed, "label noise"))
        if not isinstance(noisy, Tensor):
            raise TypeError(f"corrupt() returned {type(noisy).__name__}; expected labels")
        data = replace(clean, train=replace(clean.train, labels=noisy)).check()
    # Not `mislabelled`, because labels may be known to be wrong before the noise.
    changed = noisy != clean.train.labels
    if source.examples is None:
        return data, int(changed.sum())
    if source.examples > len(data.train):
        raise SddError(f"data.examples is {source.examples}, but {source.name!r} has only "
                       f"{len(data.train)} training examples")
    # After the noise, so that an example's label does not depend on the number of examples.
    order = torch.randperm(len(data.train), generator=generator(seed, "examples"))
    chosen = order[: source.examples].sort().values
    train = data.train
    few = Split(train.images[chosen], train.labels[chosen], train.true_labels[chosen])
    return replace(data, train=few), int(changed[chosen].sum())

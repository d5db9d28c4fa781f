"""Tiny data, networks, levels and runs for checking plugins.

The core imports no plugin, so the parts of an experiment that are not being checked are defined
here.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sdd_core.data.dataset import Augmentation, Dataset
from sdd_core.data.split import Split
from sdd_core.engine import run
from sdd_core.experiment.experiment import Experiment
from sdd_core.level.level import Level, LevelView
from sdd_core.level.masks import full_masks, prunable_weights
from sdd_core.level.result import Epoch
from sdd_core.level.retraining import Dense, Retraining
from sdd_core.plugin.discovery import Plugins
from sdd_core.plugin.kinds import DataSource, LabelNoise, Model, Pruner, Schedule
from sdd_core.randomness import fork_random_state, generator
from sdd_core.runs.result import Result

CLASSES = 4


class TinyData(DataSource):
    """6x6 images of noise with a bright row that marks the class."""

    name = "kit"

    def load(self, root: Path | None) -> Dataset:
        train, test = self._split(240, "train"), self._split(60, "test")
        return Dataset(
            self.name, train, test, CLASSES, mean=(0.5,), std=(0.3,),
            augmentation=Augmentation(pad=1, flip=True),
            confusions={0: 1, 1: 0, 2: 3}, superclasses=(0, 0, 1, 1),
        )  # fmt: skip

    def _split(self, count: int, part: str) -> Split:
        draw = generator(0, "kit", part)
        images = torch.randint(200, (count, 1, 6, 6), generator=draw, dtype=torch.uint8)
        labels = torch.arange(count) % CLASSES
        images[torch.arange(count), 0, labels] += 50
        return Split(images, labels, labels.clone())


class TinyNoise(LabelNoise):
    """An evenly spread fraction of labels moved to the next class."""

    name = "kit"

    def corrupt(self, labels: Tensor, data: Dataset, generator: torch.Generator) -> Tensor:
        wrong = torch.arange(len(labels)) % 10 < round(10 * self.rate)
        return torch.where(wrong, (labels + 1) % data.num_classes, labels)


class TinyNetwork(Model):
    """A convolution, batch normalisation and two linear layers."""

    name = "kit"

    def build(self, input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(input_shape[0], 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(),
            nn.Linear(48, 6), nn.ReLU(), nn.Linear(6, num_classes),
        )  # fmt: skip


class TinyPruner(Pruner):
    """Magnitude pruning."""

    name = "kit"

    def scores(self, level: LevelView) -> Mapping[str, Tensor]:
        return {name: level.weights[name].abs() for name in level.prunable}


class TinySchedule(Schedule):
    """Rewinding to the dense network after its first step."""

    name = "kit"

    def retraining(self, dense: Dense) -> Retraining:
        return Retraining("rewind point", dense.learning_rates[1:], first_step=1)


def tiny_run(store: Path, observers: tuple[Any, ...] = (), **parts: Any) -> Result:
    """Run an experiment of these parts, with the tiny ones above for all others."""
    settings: dict[str, Any] = {
        "data": TinyData(),
        "noise": TinyNoise(),
        "model": TinyNetwork(),
        "pruner": TinyPruner(fraction=0.5),
        "retrain": TinySchedule(),
        "train": {"epochs": 2, "batch_size": 48, "lr": 0.05},
        "levels": 2,
        "metrics": (),
        "kernels": "none",
    }
    return run(
        Experiment.make(settings | parts), store=store, plugins=Plugins(), observers=observers,
        device="cpu", checkpoint_minutes=0,
    )  # fmt: skip


def devices() -> list[torch.device]:
    """Return the CPU, and a GPU if there is one."""
    found = [torch.device("cpu")]
    return [*found, torch.device("cuda")] if torch.cuda.is_available() else found


def noisy_data() -> Dataset:
    """Return the tiny data with noisy labels."""
    data = TinyData().load(None)
    labels = TinyNoise().corrupt(data.train.labels, data, generator(0))
    train = Split(data.train.images, labels, data.train.true_labels)
    return Dataset(**{**vars(data), "train": train})


def make_level(density: float = 1.0, index: int = 0, *, masks: Mapping[str, Tensor] | None = None,
               diverged: bool = False) -> Level:
    """Return a level of the tiny network with perturbed weights, randomly pruned to `density`."""
    network = _network()
    draw = generator(0, "kit", "weights", index)
    if masks is None:
        masks = {
            name: torch.rand(mask.shape, generator=draw) < density
            for name, mask in full_masks(prunable_weights(network)).items()
        }
    state = {
        name: tensor + 0.1 * torch.randn(tensor.shape, generator=draw)
        if tensor.is_floating_point() and "running" not in name else tensor.clone()
        for name, tensor in network.state_dict().items()
    }
    state |= {name: state[name].masked_fill(~mask, 0) for name, mask in masks.items()}
    epochs = tuple(
        Epoch(number, number * 5, 0.1, 1.3, 0.3 + number / 10, 1.2, 0.4) for number in (1, 2)
    )
    return Level(index, masks, state, () if diverged else epochs, diverged)


def view_of(
    level: Level,
    exempt: tuple[str, ...] = (),
    device: torch.device | None = None,
    target_density: float | None = None,
) -> LevelView:
    """Return the view of a level of the tiny network.

    target_density: density that a pruner shall reach.
    """
    return LevelView(
        level,
        before=make_level(0.9, 99).state if level.index else None,
        dense=make_level().state,
        target_density=target_density,
        initial=_network().state_dict(),
        build=_network,
        trainable=trainable(),
        data=noisy_data(),
        exempt=frozenset(exempt),
        seed=0,
        device=device or torch.device("cpu"),
    )


def trainable() -> list[str]:
    """Return the names of the tiny network's parameters."""
    return [name for name, _ in _network().named_parameters()]


def levels() -> dict[str, Level]:
    """Return levels with special properties, by description."""
    return {
        "the dense network": make_level(),
        "a level with half of the weights": make_level(0.5, 1),
        "a level with few weights": make_level(0.02, 9),
        "a level with an empty layer": make_level(masks={
            name: mask & (name != "4.weight") for name, mask in make_level(0.5).masks.items()
        }, index=3),
        "a level without any weight": make_level(0.0, 30),
        "a level that diverged": make_level(0.5, 2, diverged=True),
    }  # fmt: skip


def contents(view: LevelView) -> dict[str, Any]:
    """Return copies of all tensors that a plugin can reach through a view."""
    parts: dict[str, Any] = {
        "level.weights": view.weights, "level.initial": view.initial, "level.masks": view.masks,
        "level.free": view.free,
    }  # fmt: skip
    for split in ("train", "test"):
        held = getattr(view.data, split)
        parts |= {f"level.data.{split}.{part}": tensor for part, tensor in vars(held).items()}
    return {
        name: {n: t.clone() for n, t in part.items()} if isinstance(part, dict) else part.clone()
        for name, part in parts.items()
    }


def _network() -> nn.Module:
    with fork_random_state():
        torch.manual_seed(0)
        return TinyNetwork().build((1, 6, 6), CLASSES)

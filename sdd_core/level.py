"""A level: one round of pruning and training, as a value, and what a plugin sees of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from sdd_core.data import Dataset
from sdd_core.evaluation import loss_gradients, predict
from sdd_core.randomness import generator


@dataclass(frozen=True)
class Epoch:
    """What was measured after an epoch of training, in evaluation mode.

    number: of the schedule, counted from 1. step: of the schedule, after the epoch.
    train_loss, train_accuracy: on the noisy training labels without augmentation; measured where
        the test accuracy is the best so far and after the last epoch, None elsewhere.
    """

    number: int
    step: int
    learning_rate: float
    test_loss: float
    test_accuracy: float
    train_loss: float | None = None
    train_accuracy: float | None = None


@dataclass(frozen=True)
class Level:
    """A trained level.

    index: 0 is the dense network; level k has been pruned k times.
    masks: bool tensors, True where a weight is kept, for every prunable weight (exempt ones too).
    state: the network's state_dict on the CPU; pruned weights are exactly zero, or where the
        schedule holds them, or trained again where the masks were lifted.
    diverged: training met NaN or infinity; `state` is then what the level started from.
    kernels: how each layer was trained, where that was chosen: part of what decides the bits.
    """

    index: int
    masks: Mapping[str, Tensor]
    state: Mapping[str, Tensor]
    epochs: tuple[Epoch, ...]
    diverged: bool = False
    kernels: tuple[str, ...] = ()


class LevelView:
    """What a pruner or a metric sees: copies, so that nothing it does can reach the run. The data
    set alone is no copy; changing it in place is refused.

    level: the level's index. device: where `network()` and the data are.
    """

    def __init__(
        self,
        level: Level,
        *,
        initial: Mapping[str, Tensor],
        build: Callable[[], nn.Module],
        data: Dataset,
        exempt: frozenset[str],
        seed: int,
        device: torch.device,
    ) -> None:
        self.level = level.index
        self.data = data
        self.device = device
        self.epochs = level.epochs
        self.diverged = level.diverged
        self._level = level
        self._initial = initial
        self._build = build
        self._exempt = exempt
        self._seed = seed
        # Shared by copies of this view: the same logits need not be computed for each metric.
        self._logits: dict[str, Tensor] = {}

    @cached_property
    def weights(self) -> dict[str, Tensor]:
        """Every trainable parameter at the end of the level's training, on the CPU."""
        return {name: self._level.state[name].clone() for name in self._parameter_names}

    @cached_property
    def initial(self) -> dict[str, Tensor]:
        """Every trainable parameter at the dense network's initialisation, on the CPU."""
        return {name: self._initial[name].clone() for name in self._parameter_names}

    @cached_property
    def masks(self) -> dict[str, Tensor]:
        """bool, True where a weight is kept, for every prunable weight, exempt ones too."""
        return {name: mask.clone() for name, mask in self._level.masks.items()}

    @property
    def prunable(self) -> list[str]:
        """Names of the weights that may be pruned, in the network's order."""
        return [name for name in self._level.masks if name not in self._exempt]

    def network(self) -> nn.Module:
        """A new copy of the trained network, on `device`, in evaluation mode."""
        network = self._build()
        network.load_state_dict(dict(self._level.state))
        return network.to(self.device).eval()

    def generator(self, purpose: str) -> torch.Generator:
        """A source of randomness for one purpose, the same whenever this level is looked at."""
        # "plugin": whatever the purpose is called, it is none of the engine's streams.
        return generator(self._seed, "plugin", purpose, self.level)

    def gradients(self, batches: int, batch_size: int) -> dict[str, Tensor]:
        """Gradient of the mean training loss over `batches` random batches, for every trainable
        parameter, on the CPU. The network is in training mode, as in the authors' code."""
        return loss_gradients(
            self.network(), self.data, batches, batch_size, self.generator("gradient batches")
        )

    @cached_property
    def train_logits(self) -> Tensor:
        """float32 `[N, classes]`, evaluation mode, without augmentation."""
        return self._predicted("train", self.data.train.images)

    @cached_property
    def test_logits(self) -> Tensor:
        """float32 `[N, classes]`, evaluation mode."""
        return self._predicted("test", self.data.test.images)

    def _predicted(self, part: str, images: Tensor) -> Tensor:
        if part not in self._logits:
            self._logits[part] = predict(self.network(), self.data, images)
        return self._logits[part].clone()

    @cached_property
    def _parameter_names(self) -> list[str]:
        return [name for name, p in self._build().named_parameters() if p.requires_grad]

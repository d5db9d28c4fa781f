"""What trains a level's network, whatever it computes with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from torch import Tensor

from sdd_core.data.resident import AugmentationDraws
from sdd_core.plugin.kinds import Loss


class Trainer(Protocol):
    """A network in training. All trainers give the same interface to different implementations."""

    instructions: str

    @property
    def kernels(self) -> tuple[str, ...]:
        """The kernels of the layers as far as they are chosen; empty if dense arithmetic does
        everything."""
        ...

    def steps(
        self, order: Tensor, crops: AugmentationDraws | None, first: int, learning_rates: np.ndarray
    ) -> None:
        """Take one step for each learning rate, on the batches of an epoch from number `first`."""

    def gradients(
        self, order: Tensor, crops: AugmentationDraws | None, number: int, learning_rate: float
    ) -> dict[str, Tensor]:
        """Return the gradients of the loss on batch `number` of an epoch, for every trained
        parameter, pruned weights too, on the CPU, without taking a step."""
        ...

    def remask(self, masks: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> None:
        """Train under other masks from now on. Dropped weights become zero; regrown ones start at
        `values`, zero for layers without any. The optimizer's state of both becomes zero."""

    def unmask(self) -> None:
        """Train pruned weights too, from now on."""

    def evaluate(self, part: str) -> tuple[float, float]:
        """Return mean cross-entropy and accuracy on 'train' or 'test', without augmentation."""
        ...

    def predictor(self) -> Callable[[str], Tensor] | None:
        """Return a function that gives the network's logits on 'train' or 'test', float32
        `[N, classes]`, until the next step; None if torch gives them."""

    def weights(self, names: Iterable[str]) -> dict[str, Tensor]:
        """Return some of the network's parameters, copied to the CPU."""
        ...

    def state(self) -> dict[str, Tensor]:
        """Return the network's state_dict, copied to the CPU."""
        ...

    def momenta(self) -> dict[str, Tensor]:
        """Return the optimizer's state, the momentum of each parameter, copied to the CPU."""
        ...


@dataclass(frozen=True)
class Objective:
    """An objective other than cross-entropy with pruned weights at zero.

    loss: replaces cross-entropy. teacher: the teacher's logits on the training set, `[N, classes]`.
    anchor: the parameters from which the distance penalty measures.
    frozen: True if pruned weights keep their values instead of being zero.
    """

    loss: Loss | None = None
    teacher: Tensor | None = None
    anchor: Mapping[str, Tensor] | None = None
    frozen: bool = False

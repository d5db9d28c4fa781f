"""Takes the steps of masked SGD on any network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from sdd_core.evaluation import evaluate
from sdd_core.experiment import Train
from sdd_core.resident import Crops, Resident


class Trainer(Protocol):
    """A network in training. What it does is the same for all; how is its own affair."""

    kernels: tuple[str, ...]

    def steps(
        self, order: Tensor, crops: Crops | None, first: int, learning_rates: np.ndarray
    ) -> None:
        """One step for each learning rate, on the batches of an epoch from number `first` on."""

    def evaluate(self, part: str) -> tuple[float, float]:
        """Mean loss and accuracy on 'train' or 'test', without augmentation."""
        ...

    def state(self) -> dict[str, Tensor]:
        """The network's state_dict, copied to the CPU."""
        ...

    def momenta(self) -> dict[str, Tensor]:
        """The momentum of each parameter, copied to the CPU."""
        ...


class FlatTrainer:
    """Masked SGD with momentum on any network.

    Parameters, gradients, momenta and masks are one flat buffer each, and the network's tensors
    are views of them: an update is five operations, however many layers there are. Convolutions
    are kept channels-last. Masking the gradient keeps the momentum of pruned weights, and so the
    weights, at exactly zero through momentum and weight decay.
    """

    kernels: tuple[str, ...] = ()

    def __init__(
        self,
        network: nn.Module,
        masks: Mapping[str, Tensor],
        data: Resident,
        train: Train,
        momenta: Mapping[str, Tensor] | None = None,
    ) -> None:
        if data.device.type in {"cpu", "cuda"} and data.data.train.images.dim() == 4:
            network = network.to(memory_format=torch.channels_last)
        self.network = network
        self._data = data
        self._train = train
        self._batch = data.buffer(train.batch_size)
        parameters = {n: p for n, p in network.named_parameters() if p.requires_grad}
        size = sum(p.numel() for p in parameters.values())
        self._weights, self._gradients, self._momenta, mask = torch.zeros(
            4, size, device=data.device
        )
        self._momentum_views: dict[str, Tensor] = {}
        offset = 0
        for name, parameter in parameters.items():
            weight, gradient, momentum, kept = (
                torch.as_strided(flat, parameter.shape, parameter.stride(),
                                 flat.storage_offset() + offset)
                for flat in (self._weights, self._gradients, self._momenta, mask)
            )
            weight.copy_(parameter.detach())
            kept.copy_(masks[name] if name in masks else torch.ones(()))
            if momenta is not None:
                momentum.copy_(momenta[name])
            parameter.data, parameter.grad = weight, gradient
            self._momentum_views[name] = momentum
            offset += parameter.numel()
        self._mask = None if bool(mask.all()) else mask
        if self._mask is not None:
            # where, not times: a product would leave -0.0
            self._weights.masked_fill_(self._mask == 0, 0.0)

    def steps(
        self, order: Tensor, crops: Crops | None, first: int, learning_rates: np.ndarray
    ) -> None:
        """See Trainer."""
        self.network.train()
        size, labels = self._train.batch_size, self._data.train_labels
        for number, learning_rate in enumerate(learning_rates.tolist(), start=first):
            rows = slice(number * size, (number + 1) * size)
            inputs = self._data.batch(order, crops, rows, self._batch)
            self._gradients.zero_()
            cross_entropy(self.network(inputs), labels[order[rows]]).backward()
            self._update(learning_rate)

    @torch.no_grad()
    def _update(self, learning_rate: float) -> None:
        """One step of torch.optim.SGD (no dampening, no Nesterov) on the kept weights."""
        if self._mask is not None:
            self._gradients.mul_(self._mask)
        if self._train.weight_decay:
            self._gradients.add_(self._weights, alpha=self._train.weight_decay)
        self._momenta.mul_(self._train.momentum).add_(self._gradients)
        self._weights.add_(self._momenta, alpha=-learning_rate)

    def evaluate(self, part: str) -> tuple[float, float]:
        """See Trainer."""
        data = self._data
        if part == "train":
            return evaluate(self.network, data.train_images, data.train_labels, data.data)
        return evaluate(self.network, data.test_images, data.test_labels, data.data)

    def state(self) -> dict[str, Tensor]:
        """See Trainer."""
        return {
            name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
            for name, tensor in self.network.state_dict().items()
        }

    def momenta(self) -> dict[str, Tensor]:
        """See Trainer."""
        return {
            name: view.cpu().clone(memory_format=torch.contiguous_format)
            for name, view in self._momentum_views.items()
        }

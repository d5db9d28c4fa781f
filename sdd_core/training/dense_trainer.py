"""Masked training of any network with dense arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from functools import partial, wraps
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from sdd_core.data.resident import AugmentationDraws, DeviceDataset
from sdd_core.experiment.train import Train
from sdd_core.level.evaluation import evaluate
from sdd_core.plugin.isolation import attribute_errors
from sdd_core.training import instructions
from sdd_core.training.flat_parameters import FlatParameters
from sdd_core.training.memory_format import memory_format
from sdd_core.training.observation import Observation
from sdd_core.training.optimizer_state import TorchOptimizers
from sdd_core.training.trainer import Objective

if TYPE_CHECKING:
    from sdd_core.sparse.layers.replacement import MaskedLayers

P = ParamSpec("P")
R = TypeVar("R")
Method = Callable[Concatenate["DenseTrainer", P], R]


def _on_kept_weights(method: Method[P, R]) -> Method[P, R]:
    """Let masked layers compute with their kept weights while a method runs, if they can."""

    @wraps(method)
    def call(self: DenseTrainer, *args: P.args, **kwargs: P.kwargs) -> R:
        usable = self.layers and not self.needs_all_gradients
        with self.layers.in_use() if self.layers and usable else nullcontext():
            return method(self, *args, **kwargs)

    return call


class DenseTrainer:
    """Masked training of any network, by SGD with momentum or an optimizer of torch.

    Convolutions are channels-last if that is safe. Masking the gradient, including weight decay,
    keeps the momentum of pruned weights at zero and their values unchanged.

    layers: linear layers and convolutions that compute with their kept weights only, as long as
        pruned weights are zero.

    Attributes:
        needs_all_gradients: whether the gradients of pruned weights are needed too. Then all layers
            compute with all weights.
    """

    needs_all_gradients = False

    def __init__(
        self,
        network: nn.Module,
        masks: Mapping[str, Tensor],
        data: DeviceDataset,
        train: Train,
        momenta: Mapping[str, Tensor] | None = None,
        objective: Objective | None = None,
        observation: Observation | None = None,
        layers: MaskedLayers | None = None,
    ) -> None:
        if data.device.type in {"cpu", "cuda"} and data.data.train.images.dim() == 4:
            network = network.to(memory_format=memory_format(network, data.device))
        self.network = network
        self.layers = layers
        self.instructions = instructions.of_torch(data.device)
        self._data = data
        self._train = train
        self._objective = objective or Objective()
        self._observation = observation
        self._batch = data.buffer(train.batch_size)
        self._flat = flat = FlatParameters(network, masks, data.device)
        anchor, own_momenta = self._objective.anchor, train.optimizer.sgd_momentum is not None
        if momenta is not None and own_momenta:
            flat.momenta.copy_(flat.flat(momenta))
        self._anchor = None if anchor is None else flat.flat(anchor)
        self._scales = flat.positions(norm_scales(network)) if train.norm_penalty else None
        self._mask = None if bool(flat.kept.all()) else flat.kept
        if self._mask is not None and not self._objective.frozen:
            # masked_fill_, because a product would leave -0.0.
            flat.weights.masked_fill_(self._mask == 0, 0.0)
        self._optimizer = None if own_momenta else self._make_optimizer(momenta)

    @property
    def kernels(self) -> tuple[str, ...]:
        """See Trainer. Which layers computed with their kept weights, see `MaskedLayers`."""
        return self.layers.kernels if self.layers else ()

    @_on_kept_weights
    def steps(
        self, order: Tensor, crops: AugmentationDraws | None, first: int, learning_rates: np.ndarray
    ) -> None:
        """See Trainer."""
        self.network.train()
        for number, learning_rate in enumerate(learning_rates.tolist(), start=first):
            inputs, chosen = self._examples(order, crops, number)
            self._backward(inputs, chosen)
            self._observe(number, learning_rate)
            self._regularise()
            self._update(learning_rate, partial(self._again, inputs, chosen))

    def gradients(
        self, order: Tensor, crops: AugmentationDraws | None, number: int, learning_rate: float
    ) -> dict[str, Tensor]:
        """See Trainer."""
        self.network.train()
        self._backward(*self._examples(order, crops, number))
        self._observe(number, learning_rate)
        return {name: entry.gradient.cpu().clone(memory_format=torch.contiguous_format)
                for name, entry in self._flat.entries.items()}

    def _examples(
        self, order: Tensor, crops: AugmentationDraws | None, number: int
    ) -> tuple[Tensor, Tensor]:
        """Return the inputs of a batch and the positions of its training examples."""
        size = self._train.batch_size
        rows = slice(number * size, (number + 1) * size)
        return self._data.batch(order, crops, rows, self._batch), order[rows]

    def _observe(self, number: int, learning_rate: float) -> None:
        """Show a batch's gradients to the pruner that observes training, if there is one."""
        if self._observation is not None:
            entries = self._flat.entries.items()
            self._observation.step(number, learning_rate,
                                   {name: entry.parameter for name, entry in entries},
                                   {name: entry.gradient for name, entry in entries})

    def _backward(self, inputs: Tensor, chosen: Tensor) -> Tensor:
        """Compute the gradients of the loss of some training examples, and return the loss."""
        self._flat.gradients.zero_()
        loss, teacher = self._objective.loss, self._objective.teacher
        logits, targets = self.network(inputs), self._data.train_labels[chosen]
        if loss is None:
            found = cross_entropy(logits, targets)
            found.backward()
        else:
            teacher_logits = None if teacher is None else teacher[chosen]
            with attribute_errors(loss):
                found = loss.loss(logits, targets, teacher_logits)
                found.backward()
        self._flat.gather_gradients()
        return found.detach()

    def _again(self, inputs: Tensor, chosen: Tensor) -> Tensor:
        """Compute the gradients at the weights to which an optimizer has moved within its step, and
        return the loss. Running statistics stay those of the step's own weights."""
        with torch.enable_grad():
            self._flat.gather_weights()
            buffers = [(buffer, buffer.clone()) for buffer in self.network.buffers()]
            found = self._backward(inputs, chosen)
            self._regularise()
        for buffer, value in buffers:
            buffer.copy_(value)
        return found

    @torch.no_grad()
    def _regularise(self) -> None:
        """Add the penalties to the gradients, and set those of pruned weights to zero."""
        weights, gradients = self._flat.weights, self._flat.gradients
        if self._anchor is not None:
            # The gradient of lambda^2/2 ||w - w_start||^2 (the code of He et al., 2022)
            gradients.add_(weights - self._anchor, alpha=self._train.distance_penalty**2)
        if self._scales is not None:
            # The subgradient of lambda sum |gamma| (Liu et al., 2017)
            gradients[self._scales] += self._train.norm_penalty * weights[self._scales].sign()
        if self._train.weight_decay and self._optimizer is None:
            gradients.add_(weights, alpha=self._train.weight_decay)
        if self._mask is not None:
            gradients.mul_(self._mask)

    @torch.no_grad()
    def _update(self, learning_rate: float, closure: Callable[[], Tensor]) -> None:
        """Update the kept weights, by default like torch.optim.SGD without Nesterov momentum."""
        flat = self._flat
        if self._optimizer is None:
            flat.momenta.mul_(self._train.optimizer.sgd_momentum).add_(flat.gradients)
            flat.weights.add_(flat.momenta, alpha=-learning_rate)
            return
        before = flat.weights.clone() if self._mask is not None else None
        self._optimizer.step(learning_rate, closure)
        if self._optimizer.named:
            flat.gather_weights()
        if self._mask is not None and before is not None:
            # Decoupled weight decay would change frozen weights, so restore them.
            flat.weights.copy_(torch.where(self._mask == 0, before, flat.weights))

    def _make_optimizer(self, memory: Mapping[str, Tensor] | None) -> TorchOptimizers:
        """Return torch's optimizer on the flat buffers, with its state from a checkpoint."""
        flat = self._flat
        flat.weights.grad = flat.gradients
        parameters = {name: entry.parameter for name, entry in flat.entries.items()}
        optimizer = TorchOptimizers(self._train, flat.weights, parameters)
        if memory is not None:
            optimizer.restore(memory)
        return optimizer

    @torch.no_grad()
    def remask(self, masks: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> None:
        """See Trainer."""
        flat = self._flat
        before = flat.kept != 0
        for name, mask in masks.items():
            flat.entries[name].kept.copy_(mask)
        kept = flat.kept != 0
        changed = before != kept
        flat.weights.masked_fill_(changed, 0.0)
        flat.momenta.masked_fill_(changed, 0.0)
        if self._optimizer is not None:
            self._optimizer.reset(changed)
        for name, given in values.items():
            weight = flat.entries[name].weight
            value = given.to(weight.device)
            weight.copy_(torch.where(value != 0, value, weight))
        self._mask = None if bool(kept.all()) else flat.kept
        if self.layers:
            self.layers.remask(masks)
        if self._observation is not None:
            self._observation.masks = masks

    def unmask(self) -> None:
        """See Trainer."""
        self._mask = None
        self.needs_all_gradients = True

    def predictor(self) -> None:
        """See Trainer."""
        return

    @_on_kept_weights
    def evaluate(self, part: str) -> tuple[float, float]:
        """See Trainer."""
        data = self._data
        if part == "train":
            return evaluate(self.network, data.train_images, data.train_labels, data.data)
        return evaluate(self.network, data.test_images, data.test_labels, data.data)

    def weights(self, names: Iterable[str]) -> dict[str, Tensor]:
        """See Trainer."""
        return {
            name: self.network.get_parameter(name).detach().cpu().clone(
                memory_format=torch.contiguous_format)
            for name in names
        }

    def state(self) -> dict[str, Tensor]:
        """See Trainer."""
        return {
            name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
            for name, tensor in self.network.state_dict().items()
        }

    def momenta(self) -> dict[str, Tensor]:
        """See Trainer. For an optimizer of torch: its state by name."""
        if self._optimizer is not None:
            return self._optimizer.memory()
        return {
            name: entry.momentum.cpu().clone(memory_format=torch.contiguous_format)
            for name, entry in self._flat.entries.items()
        }


def norm_scales(network: nn.Module) -> set[str]:
    """Return the names of the scales of batch normalisation layers."""
    scales = {
        id(module.weight) for module in network.modules()
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d)
    }
    return {name for name, parameter in network.named_parameters() if id(parameter) in scales}

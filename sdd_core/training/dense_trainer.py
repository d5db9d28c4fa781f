"""Masked training of any network with dense arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import nullcontext
from functools import partial, wraps
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from sdd_core.data.resident import AugmentationDraws, DeviceDataset
from sdd_core.errors import SddError
from sdd_core.experiment.train import Train
from sdd_core.level.evaluation import evaluate
from sdd_core.plugin.isolation import attribute_errors
from sdd_core.training import instructions
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

    Parameters, gradients, momenta and masks are one flat buffer each, and the network's tensors are
    views of them, so an update takes a few operations for any number of layers. Convolutions are
    channels-last if that is safe. Masking the gradient, including weight decay, keeps the momentum
    of pruned weights at zero and their values unchanged.

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
        parameters = {n: p for n, p in network.named_parameters() if p.requires_grad}
        size = sum(p.numel() for p in parameters.values())
        self._weights, self._gradients, self._momenta, mask, anchor = torch.zeros(
            5, size, device=data.device
        )
        own_momenta = train.optimizer.sgd_momentum is not None
        anchors = self._objective.anchor
        self._momentum_views: dict[str, Tensor] = {}
        self._gradient_views: dict[str, tuple[Tensor, Tensor]] = {}
        self._mask_views: dict[str, Tensor] = {}
        self._weight_views: dict[str, Tensor] = {}
        offset = 0
        for name, parameter in parameters.items():
            weight, gradient, momentum, kept, anchor_view = (
                torch.as_strided(flat, parameter.shape, dense_stride(parameter),
                                 flat.storage_offset() + offset)
                for flat in (self._weights, self._gradients, self._momenta, mask, anchor)
            )
            weight.copy_(parameter.detach())
            kept.copy_(masks[name] if name in masks else torch.ones(()))
            if momenta is not None and own_momenta:
                momentum.copy_(momenta[name])
            if anchors is not None:
                anchor_view.copy_(anchors[name])
            parameter.data, parameter.grad = weight, gradient
            self._momentum_views[name] = momentum
            self._gradient_views[name] = parameter, gradient
            self._mask_views[name] = kept
            self._weight_views[name] = weight
            offset += parameter.numel()
        self._anchor = None if anchors is None else anchor
        self._scales = self._positions(norm_scales(network)) if train.norm_penalty else None
        self._kept = mask
        self._mask = None if bool(mask.all()) else mask
        if self._mask is not None and not self._objective.frozen:
            # masked_fill_, because a product would leave -0.0.
            self._weights.masked_fill_(self._mask == 0, 0.0)
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
        return {name: view.cpu().clone(memory_format=torch.contiguous_format)
                for name, (_, view) in self._gradient_views.items()}

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
            views = self._gradient_views.items()
            self._observation.step(number, learning_rate,
                                   {name: parameter for name, (parameter, _) in views},
                                   {name: gradient for name, (_, gradient) in views})

    def _backward(self, inputs: Tensor, chosen: Tensor) -> Tensor:
        """Compute the gradients of the loss of some training examples, and return the loss."""
        self._gradients.zero_()
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
        self._gather_gradients()
        return found.detach()

    def _again(self, inputs: Tensor, chosen: Tensor) -> Tensor:
        """Compute the gradients at the weights to which an optimizer has moved within its step, and
        return the loss. Running statistics stay those of the step's own weights."""
        with torch.enable_grad():
            self._gather_weights()
            buffers = [(buffer, buffer.clone()) for buffer in self.network.buffers()]
            found = self._backward(inputs, chosen)
            self._regularise()
        for buffer, value in buffers:
            buffer.copy_(value)
        return found

    @torch.no_grad()
    def _gather_weights(self) -> None:
        """Copy weights that an optimizer has replaced into the flat buffer, and let gradients that
        it has removed be views again."""
        for name, (parameter, gradient) in self._gradient_views.items():
            weight = self._weight_views[name]
            if parameter.data_ptr() != weight.data_ptr():
                weight.copy_(parameter)
                parameter.data = weight
            parameter.grad = gradient

    @torch.no_grad()
    def _gather_gradients(self) -> None:
        """Copy gradients that a hook has replaced into the flat buffer.

        Raises SddError if a hook has removed a gradient.
        """
        for name, (parameter, view) in self._gradient_views.items():
            gradient = parameter.grad
            if gradient is view:
                continue
            if gradient is None:
                raise SddError(f"a hook of the model removed the gradient of {name!r}, which "
                               "training requires; let it change the gradient, or return another "
                               "one")
            view.copy_(gradient)
            parameter.grad = view

    @torch.no_grad()
    def _regularise(self) -> None:
        """Add the penalties to the gradients, and set those of pruned weights to zero."""
        if self._anchor is not None:
            # The gradient of lambda^2/2 ||w - w_start||^2 (the code of He et al., 2022)
            strength = self._train.distance_penalty**2
            self._gradients.add_(self._weights - self._anchor, alpha=strength)
        if self._scales is not None:
            # The subgradient of lambda sum |gamma| (Liu et al., 2017)
            signs = self._weights[self._scales].sign()
            self._gradients[self._scales] += self._train.norm_penalty * signs
        if self._train.weight_decay and self._optimizer is None:
            self._gradients.add_(self._weights, alpha=self._train.weight_decay)
        if self._mask is not None:
            self._gradients.mul_(self._mask)

    @torch.no_grad()
    def _update(self, learning_rate: float, closure: Callable[[], Tensor]) -> None:
        """Update the kept weights, by default like torch.optim.SGD without Nesterov momentum."""
        if self._optimizer is None:
            self._momenta.mul_(self._train.optimizer.sgd_momentum).add_(self._gradients)
            self._weights.add_(self._momenta, alpha=-learning_rate)
            return
        before = self._weights.clone() if self._mask is not None else None
        self._optimizer.step(learning_rate, closure)
        if self._optimizer.named:
            self._gather_weights()
        if self._mask is not None and before is not None:
            # Decoupled weight decay would change frozen weights, so restore them.
            self._weights.copy_(torch.where(self._mask == 0, before, self._weights))

    def _positions(self, names: Collection[str]) -> Tensor:
        """Return the positions of the named parameters in the flat buffers, int64."""
        marked = torch.zeros_like(self._weights)
        offset = 0
        for name, view in self._momentum_views.items():
            marked[offset : offset + view.numel()] = float(name in names)
            offset += view.numel()
        return marked.nonzero().squeeze(1)

    def _make_optimizer(self, memory: Mapping[str, Tensor] | None) -> TorchOptimizers:
        """Return torch's optimizer on the flat buffers, with its state from a checkpoint."""
        self._weights.grad = self._gradients
        parameters = {name: parameter for name, (parameter, _) in self._gradient_views.items()}
        optimizer = TorchOptimizers(self._train, self._weights, parameters)
        if memory is not None:
            optimizer.restore(memory)
        return optimizer

    @torch.no_grad()
    def remask(self, masks: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> None:
        """See Trainer."""
        before = self._kept != 0
        for name, mask in masks.items():
            self._mask_views[name].copy_(mask)
        kept = self._kept != 0
        changed = before != kept
        self._weights.masked_fill_(changed, 0.0)
        self._momenta.masked_fill_(changed, 0.0)
        if self._optimizer is not None:
            self._optimizer.reset(changed)
        for name, value in values.items():
            parameter = self._gradient_views[name][0]
            parameter.data.copy_(torch.where(value.to(parameter.device) != 0,
                                             value.to(parameter.device), parameter))
        self._mask = None if bool(kept.all()) else self._kept
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
            name: view.cpu().clone(memory_format=torch.contiguous_format)
            for name, view in self._momentum_views.items()
        }


def dense_stride(tensor: Tensor) -> tuple[int, ...]:
    """Return the strides of a tensor's order of dimensions in memory, without a view's gaps."""
    return torch.empty_like(tensor, device="meta").stride()


def norm_scales(network: nn.Module) -> set[str]:
    """Return the names of the scales of batch normalisation layers."""
    scales = {
        id(module.weight) for module in network.modules()
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d)
    }
    return {name for name, parameter in network.named_parameters() if id(parameter) in scales}

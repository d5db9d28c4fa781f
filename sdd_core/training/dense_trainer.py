"""Masked training of any network with dense arithmetic."""

from __future__ import annotations

from collections.abc import Collection, Mapping

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
from sdd_core.training.optimizer_state import make_optimizer, memory_of, restore_memory
from sdd_core.training.trainer import Objective


class DenseTrainer:
    """Masked training of any network, by SGD with momentum or an optimizer of torch.

    Parameters, gradients, momenta and masks are one flat buffer each, and the network's tensors are
    views of them, so an update takes a few operations for any number of layers. Convolutions are
    channels-last if that is safe. Masking the gradient, including weight decay, keeps the momentum
    of pruned weights at zero and their values unchanged.
    """

    kernels: tuple[str, ...] = ()

    def __init__(
        self,
        network: nn.Module,
        masks: Mapping[str, Tensor],
        data: DeviceDataset,
        train: Train,
        momenta: Mapping[str, Tensor] | None = None,
        objective: Objective | None = None,
    ) -> None:
        if data.device.type in {"cpu", "cuda"} and data.data.train.images.dim() == 4:
            network = network.to(memory_format=memory_format(network, data.device))
        self.network = network
        self.instructions = instructions.of_torch(data.device)
        self._data = data
        self._train = train
        self._objective = objective or Objective()
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
            offset += parameter.numel()
        self._anchor = None if anchors is None else anchor
        self._scales = self._positions(norm_scales(network)) if train.norm_penalty else None
        self._mask = None if bool(mask.all()) else mask
        if self._mask is not None and not self._objective.frozen:
            # masked_fill_, because a product would leave -0.0.
            self._weights.masked_fill_(self._mask == 0, 0.0)
        self._optimizer = None if own_momenta else self._make_optimizer(momenta)

    def steps(
        self, order: Tensor, crops: AugmentationDraws | None, first: int, learning_rates: np.ndarray
    ) -> None:
        """See Trainer."""
        self.network.train()
        size, labels = self._train.batch_size, self._data.train_labels
        loss, teacher = self._objective.loss, self._objective.teacher
        for number, learning_rate in enumerate(learning_rates.tolist(), start=first):
            rows = slice(number * size, (number + 1) * size)
            inputs = self._data.batch(order, crops, rows, self._batch)
            self._gradients.zero_()
            chosen = order[rows]
            logits, targets = self.network(inputs), labels[chosen]
            if loss is None:
                cross_entropy(logits, targets).backward()
            else:
                teacher_logits = None if teacher is None else teacher[chosen]
                with attribute_errors(loss):
                    loss.loss(logits, targets, teacher_logits).backward()
            self._gather_gradients()
            self._update(learning_rate)

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
    def _update(self, learning_rate: float) -> None:
        """Update the kept weights, by default like torch.optim.SGD without Nesterov momentum."""
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
        if self._optimizer is None:
            self._momenta.mul_(self._train.optimizer.sgd_momentum).add_(self._gradients)
            self._weights.add_(self._momenta, alpha=-learning_rate)
            return
        before = self._weights.clone() if self._mask is not None else None
        self._optimizer.param_groups[0]["lr"] = learning_rate
        with attribute_errors(self._train.optimizer):
            self._optimizer.step()
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

    def _make_optimizer(self, memory: Mapping[str, Tensor] | None) -> torch.optim.Optimizer:
        """Return torch's optimizer on the flat buffers, with its state from a checkpoint."""
        self._weights.grad = self._gradients
        optimizer = make_optimizer(self._train, self._weights)
        if memory is not None:
            restore_memory(optimizer, self._weights, memory)
        return optimizer

    def unmask(self) -> None:
        """See Trainer."""
        self._mask = None

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
        """See Trainer. For an optimizer of torch: its state by name, for all parameters in one."""
        if self._optimizer is not None:
            with attribute_errors(self._train.optimizer):
                return memory_of(self._optimizer, self._weights)
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

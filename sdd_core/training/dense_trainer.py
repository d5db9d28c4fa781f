"""Takes the steps of masked SGD on any network."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from sdd_core.data.resident import AugmentationDraws, DeviceDataset
from sdd_core.errors import SddError
from sdd_core.experiment.train import Train
from sdd_core.level.evaluation import evaluate
from sdd_core.plugin.isolation import attribute_errors
from sdd_core.plugin.kinds import Loss


class Trainer(Protocol):
    """A network in training. What it does is the same for all; how is its own affair."""

    kernels: tuple[str, ...]

    def steps(
        self, order: Tensor, crops: AugmentationDraws | None, first: int, learning_rates: np.ndarray
    ) -> None:
        """One step for each learning rate, on the batches of an epoch from number `first` on."""

    def unmask(self) -> None:
        """Let pruned weights train too, from now on."""

    def evaluate(self, part: str) -> tuple[float, float]:
        """Mean cross-entropy and accuracy on 'train' or 'test', without augmentation."""
        ...

    def state(self) -> dict[str, Tensor]:
        """The network's state_dict, copied to the CPU."""
        ...

    def momenta(self) -> dict[str, Tensor]:
        """What the optimizer remembers, the momentum of each parameter, copied to the CPU."""
        ...


@dataclass(frozen=True)
class Objective:
    """What is minimised, where it is more than cross-entropy on weights that are zero or trained.

    loss: in place of cross-entropy. teacher: its logits on the training set `[N, classes]`.
    anchor: where the distance penalty draws each parameter to.
    held: pruned weights stay where they are instead of at zero.
    """

    loss: Loss | None = None
    teacher: Tensor | None = None
    anchor: Mapping[str, Tensor] | None = None
    frozen: bool = False


class DenseTrainer:
    """Masked training of any network, by SGD with momentum or an optimizer of torch.

    Parameters, gradients, momenta and masks are one flat buffer each, and the network's tensors
    are views of them: an update is a few operations, however many layers there are. Convolutions
    are kept channels-last where that is safe. Masking the gradient, weight decay included, keeps
    the momentum of pruned weights at zero, and so the weights exactly where they are.
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
            weight, gradient, momentum, kept, drawn_to = (
                torch.as_strided(flat, parameter.shape, dense_stride(parameter),
                                 flat.storage_offset() + offset)
                for flat in (self._weights, self._gradients, self._momenta, mask, anchor)
            )
            weight.copy_(parameter.detach())
            kept.copy_(masks[name] if name in masks else torch.ones(()))
            if momenta is not None and own_momenta:
                momentum.copy_(momenta[name])
            if anchors is not None:
                drawn_to.copy_(anchors[name])
            parameter.data, parameter.grad = weight, gradient
            self._momentum_views[name] = momentum
            self._gradient_views[name] = parameter, gradient
            offset += parameter.numel()
        self._anchor = None if anchors is None else anchor
        self._scales = self._positions(norm_scales(network)) if train.norm_penalty else None
        self._mask = None if bool(mask.all()) else mask
        if self._mask is not None and not self._objective.frozen:
            # where, not times: a product would leave -0.0
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
            logits, wanted = self.network(inputs), labels[chosen]
            if loss is None:
                cross_entropy(logits, wanted).backward()
            else:
                told = None if teacher is None else teacher[chosen]
                with attribute_errors(loss):
                    loss.loss(logits, wanted, told).backward()
            self._gather_gradients()
            self._update(learning_rate)

    @torch.no_grad()
    def _gather_gradients(self) -> None:
        """Where a hook has given a parameter another gradient, put that into the flat buffer.

        Raises SddError where it has taken the gradient away.
        """
        for name, (parameter, view) in self._gradient_views.items():
            gradient = parameter.grad
            if gradient is view:
                continue
            if gradient is None:
                raise SddError(f"a hook of the model took away the gradient of {name!r}, which "
                               "training needs; let it change the gradient, or return another one")
            view.copy_(gradient)
            parameter.grad = view

    @torch.no_grad()
    def _update(self, learning_rate: float) -> None:
        """One step on the kept weights, by default of torch.optim.SGD without Nesterov."""
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
            # Decay that is no part of the gradient would reach weights that are held.
            self._weights.copy_(torch.where(self._mask == 0, before, self._weights))

    def _positions(self, names: Collection[str]) -> Tensor:
        """int64: where some parameters lie in the flat buffers."""
        marked = torch.zeros_like(self._weights)
        offset = 0
        for name, view in self._momentum_views.items():
            marked[offset : offset + view.numel()] = float(name in names)
            offset += view.numel()
        return marked.nonzero().squeeze(1)

    def _make_optimizer(self, memory: Mapping[str, Tensor] | None) -> torch.optim.Optimizer:
        """torch's optimizer on the flat buffers, with what it remembered at a checkpoint."""
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
        """See Trainer. Of an optimizer of torch: its own names, for all parameters in one."""
        if self._optimizer is not None:
            with attribute_errors(self._train.optimizer):
                return memory_of(self._optimizer, self._weights)
        return {
            name: view.cpu().clone(memory_format=torch.contiguous_format)
            for name, view in self._momentum_views.items()
        }


# Stands before the name of what is a number of Python, not a tensor, to an optimizer.
NUMBER = "number "


def memory_of(optimizer: torch.optim.Optimizer, weights: Tensor) -> dict[str, Tensor]:
    """What an optimizer remembers of the weights, by its own names, copied to the CPU.

    Raises TypeError: it remembers something else than tensors and numbers.
    """
    memory: dict[str, Tensor] = {}
    for name, value in optimizer.state[weights].items():
        if isinstance(value, Tensor):
            memory[name] = value.cpu().clone()
        elif isinstance(value, int | float):
            kind = torch.float64 if isinstance(value, float) else None
            memory[NUMBER + name] = torch.tensor(value, dtype=kind)
        else:
            raise TypeError(f"it remembers {name!r} as {type(value).__name__}; a checkpoint keeps "
                            "tensors and numbers")
    return memory


def restore_memory(
    optimizer: torch.optim.Optimizer, weights: Tensor, memory: Mapping[str, Tensor]
) -> None:
    """Let an optimizer go on from what one before it remembered."""
    optimizer.state[weights] = {
        name.removeprefix(NUMBER): value.item() if name.startswith(NUMBER)
        # Single numbers, as the count of steps, stay on the CPU.
        else value.to(weights.device if value.dim() else "cpu", copy=True)
        for name, value in memory.items()
    }


def dense_stride(tensor: Tensor) -> tuple[int, ...]:
    """The order of its numbers in memory, without the gaps that a view may have."""
    return torch.empty_like(tensor, device="meta").stride()


# Numbers in the widest vector register (AVX-512).
VECTOR = 16


def memory_format(network: nn.Module, device: torch.device) -> torch.memory_format:
    """How the weights of a network's convolutions lie in memory: channels-last, which is faster,
    unless oneDNN would write where it must not.

    On the CPU its gradient of a strided 1x1 convolution, channels-last, writes past its workspace
    where there are fewer input channels than a vector has numbers: heap corruption with one
    thread, wrong gradients or a deadlock with more (uxlfoundation/oneDNN issue 6035, in torch
    2.14.1). Seen with AVX2, 2 to 7 channels, and not with AVX-512; the rule goes by the wider
    vector everywhere, so that no processor computes otherwise than another. One such layer is
    enough: torch takes a convolution as channels-last where its input or its weight is.
    """
    if device.type != "cpu":
        return torch.channels_last
    harmless = {
        id(module.weight) for module in network.modules()
        if isinstance(module, nn.Conv2d) and set(module.stride) == {1}
    }
    # A weight of any other layer may be used with a stride: what its forward does is not known.
    narrow = any(
        p.dim() == 4 and p.shape[2:] == (1, 1) and p.shape[1] < VECTOR and id(p) not in harmless
        for p in network.parameters()
    )
    return torch.contiguous_format if narrow else torch.channels_last


def norm_scales(network: nn.Module) -> set[str]:
    """The names of the batch normalisations' scales."""
    scales = {
        id(module.weight) for module in network.modules()
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d)
    }
    return {name for name, parameter in network.named_parameters() if id(parameter) in scales}


def make_optimizer(train: Train, weights: Tensor) -> torch.optim.Optimizer:
    """Return the optimizer of an experiment for these weights. Raises SddError for what is none, or
    one of other weights."""
    with attribute_errors(train.optimizer):
        made = train.optimizer.make(weights, train.lr, train.weight_decay)
        if not isinstance(made, torch.optim.Optimizer):
            raise TypeError(f"make() returned {type(made).__name__}; expected a "
                            "torch.optim.Optimizer")
        if not any(one is weights for group in made.param_groups for one in group["params"]):
            raise TypeError("make() returned an optimizer of other weights; expected one of the "
                            "tensor that it was given")
        return made

"""Training of networks of supported layers with sparse kernels, as a `Trainer`.

This module imports numba; `sdd_core.training.select` checks first that it is installed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sdd_core.data.resident import AugmentationDraws, DeviceDataset, normalise
from sdd_core.experiment.train import Train
from sdd_core.level.evaluation import evaluation_batches
from sdd_core.sparse import SparseMLP, load, save, supports
from sdd_core.sparse.convmodule import (
    ConvPlan,
    load_convolution,
    save_convolution,
    supports_convolution,
)
from sdd_core.sparse.convnet import SparseConvNet
from sdd_core.sparse.plain import is_plain
from sdd_core.training.costs import KernelCosts

Own = SparseMLP | SparseConvNet
Masks = Mapping[Tensor, Tensor]
Images = NDArray[np.float32]
Kernels = tuple[str, ...] | None
Made = tuple[Own, Callable[[], dict[Tensor, Tensor]], tuple[str, ...]]

# Batches to prepare at once if images are augmented or stored as bytes.
BATCHES = 8

# Nanoseconds of a perceptron's step above which a second thread pays off.
WORTH_SHARING = 150_000


class SparseTrainer:
    """Masked SGD by sparse kernels; see Trainer.

    The kernels have their own copy of the parameters. `save` writes it to the network and returns
    the momenta of the parameters.
    """

    def __init__(
        self,
        network: nn.Module,
        own: Own,
        save: Callable[[], dict[Tensor, Tensor]],
        kernels: tuple[str, ...],
        *,
        data: DeviceDataset,
        batch_size: int,
    ) -> None:
        self.kernels = kernels
        self._network = network
        self._own = own
        self._save = save
        self._data = data
        self._batch_size = batch_size
        self._labels = data.train_labels.numpy()
        # None if every batch must be prepared.
        whole = data.augmentation is None and data.train_images.is_floating_point()
        self._images = self._array(data.train_images) if whole else None
        self._buffer = data.buffer(0 if whole else BATCHES * batch_size)
        self._parts: dict[str, list[tuple[Tensor | Images, NDArray[np.int64]]]] = {}

    def steps(
        self, order: Tensor, crops: AugmentationDraws | None, first: int, learning_rates: np.ndarray
    ) -> None:
        """See Trainer."""
        data, size, last = self._data, self._batch_size, first + len(learning_rates)
        if self._images is not None:
            chosen = order.numpy()[first * size : last * size]
            self._own.train_epoch(self._images, self._labels, chosen, size, learning_rates)
            return
        for start in range(first, last, BATCHES):
            stop = min(start + BATCHES, last)
            rows = slice(start * size, stop * size)
            images = self._array(data.batch(order, crops, rows, self._buffer))
            labels = self._labels[order[rows].numpy()]
            rates = learning_rates[start - first : stop - first]
            self._own.train_epoch(images, labels, np.arange(len(images)), size, rates)

    def unmask(self) -> None:
        """See Trainer. Never called: levels whose masks are lifted use the dense path."""

    def evaluate(self, part: str) -> tuple[float, float]:
        """See Trainer."""
        loss, hits, examples = 0.0, 0.0, 0
        for images, labels in self._batches(part):
            result, count = self._own.evaluate(self._inputs(images), labels), len(labels)
            loss, hits = loss + result.loss * count, hits + result.accuracy * count
            examples += count
        return loss / examples, round(hits) / examples

    def state(self) -> dict[str, Tensor]:
        """See Trainer."""
        self._save()
        return {
            name: tensor.detach().clone(memory_format=torch.contiguous_format)
            for name, tensor in self._network.state_dict().items()
        }

    def momenta(self) -> dict[str, Tensor]:
        """See Trainer."""
        momenta = self._save()
        return {name: momenta[p].contiguous() for name, p in self._network.named_parameters()}

    def _batches(self, part: str) -> list[tuple[Tensor | Images, NDArray[np.int64]]]:
        """Return images and labels of 'train' or 'test', without copies; images that still have to
        be normalised are tensors. Cached, because slicing takes long on small data sets."""
        if part not in self._parts:
            data = self._data
            train = part == "train"
            images = data.train_images if train else data.test_images
            labels = (data.train_labels if train else data.test_labels).numpy()
            ready = images.is_floating_point()
            self._parts[part] = [
                (self._array(images[rows]) if ready else images[rows], labels[rows])
                for rows in evaluation_batches(images)
            ]
        return self._parts[part]

    def _inputs(self, images: Tensor | Images) -> Images:
        if isinstance(images, Tensor):
            return self._array(normalise(images, self._data.data))
        return images

    def _array(self, images: Tensor) -> Images:
        """Return images in the layout of the kernels, without a copy if they already have it."""
        flat = images.reshape(len(images), -1) if isinstance(self._own, SparseMLP) else images
        return flat.contiguous().numpy()


class SparseTrainerFactory:
    """Makes the trainers of networks with one architecture, which is read from the first network.

    network: the first network. costs: the costs that decide about the kernels.
    """

    def __init__(
        self, network: nn.Module, data: DeviceDataset, train: Train, costs: KernelCosts
    ) -> None:
        self._data = data
        self._train = train
        self._costs = costs
        shape = data.data.input_shape
        single = all(p.dtype == torch.float32 for p in network.parameters())
        self._linears = supports(network, shape) if single else None
        self._plan = None
        if single and not self._linears:
            self._plan = supports_convolution(network, shape)

    def make(
        self,
        network: nn.Module,
        masks: Mapping[str, Tensor],
        momenta: Mapping[str, Tensor] | None,
        kernels: Kernels,
    ) -> SparseTrainer | None:
        """Return a trainer with sparse kernels; None if the dense path is required or faster.

        kernels: the kernels of a checkpoint, which must be used; None: the costs decide.
        """
        if not is_plain(network):  # it may differ from the first network, for example by hooks
            return None
        parameters = dict(network.named_parameters())
        kept: dict[Tensor, Tensor] = {
            parameters[name]: mask for name, mask in masks.items() if not mask.all()
        }
        before = None if momenta is None else {parameters[n]: m for n, m in momenta.items()}
        train = self._train
        sgd = {"momentum": train.optimizer.sgd_momentum, "weight_decay": train.weight_decay,
               "momenta": before}
        if self._linears:
            linears = [cast(nn.Linear, network.get_submodule(name)) for name in self._linears]
            made = _perceptron(linears, kept, kernels, self._costs, sgd)
        elif self._plan:
            made = _convolutional(self._plan, network, kept, kernels, self._costs, sgd)
        else:
            return None
        return made and SparseTrainer(network, *made, data=self._data, batch_size=train.batch_size)


def _perceptron(
    linears: Sequence[nn.Linear], kept: Masks, kernels: Kernels, costs: KernelCosts, sgd: Any
) -> Made | None:
    weights = [linear.weight for linear in linears]
    masks = [_array(kept, weight) for weight in weights]
    if not _masks_only(kept, weights) or (kernels is None and not costs.gains(masks)):
        return None
    threads = _threads() if costs.step(masks) >= WORTH_SHARING else 1
    kernels = kernels or costs.choose(masks)
    own = load(linears, list(map(kept.get, weights)), kernels=kernels, threads=threads, **sgd)
    return own, lambda: save(own, linears), own.kernels


def _convolutional(
    plan: ConvPlan,
    network: nn.Module,
    kept: Masks,
    kernels: Kernels,
    costs: KernelCosts,
    sgd: Any,
) -> Made | None:
    *others, head, _ = plan.parameters(network)
    weights = others[: len(plan.convolutions)]
    masks = [_array(kept, weight) for weight in weights]
    if not _masks_only(kept, [*weights, head]):
        return None
    if kernels is None and not costs.gains_convolution(masks, plan.pixels()):
        return None
    own = load_convolution(plan, network, kept, threads=_threads(), **sgd)
    return own, lambda: save_convolution(own, plan, network), ("sparse",) * len(masks)


def _masks_only(kept: Masks, weights: Sequence[Tensor]) -> bool:
    """Return whether only these weights have a mask."""
    return set(map(id, kept)) <= set(map(id, weights))


def _threads() -> int:
    """Return the number of threads, at most two: a step is short, and a sweep uses other cores."""
    return min(2, torch.get_num_threads())


def _array(kept: Masks, weight: Tensor) -> NDArray[np.bool_]:
    return kept[weight].numpy() if weight in kept else np.ones(weight.shape, bool)

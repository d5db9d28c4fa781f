"""Training of networks of supported layers with sparse kernels, as a `Trainer`.

This module imports numba; `sdd_core.training.select` checks first that it is installed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from sdd_core.data.resident import AugmentationDraws, DeviceDataset, normalise
from sdd_core.experiment.train import Train
from sdd_core.level.evaluation import evaluation_batches
from sdd_core.sparse import ahead
from sdd_core.sparse.costs import KernelCosts
from sdd_core.sparse.match import match
from sdd_core.sparse.match.plain import is_plain
from sdd_core.sparse.module import load, reload, save
from sdd_core.sparse.network import Network, SgdSettings
from sdd_core.training import instructions

Images = NDArray[np.float32]

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
        own: Network,
        masks: Mapping[str, Tensor],
        *,
        data: DeviceDataset,
        batch_size: int,
    ) -> None:
        self._own = own
        self._masks = dict(masks)
        self._saved: dict[str, Tensor] | None = None
        self.kernels = own.kernels
        self.instructions = instructions.of_kernels()
        self._network = network
        self._data = data
        self._batch_size = batch_size
        self._labels = data.train_labels.numpy()
        # None if every batch must be prepared.
        whole = data.augmentation is None and data.train_images.is_floating_point()
        self._images = self._array(data.train_images) if whole else None
        self._buffer = data.buffer((1 if whole else BATCHES) * batch_size)
        self._parts: dict[str, list[tuple[Tensor | Images, NDArray[np.int64]]]] = {}

    def steps(
        self, order: Tensor, crops: AugmentationDraws | None, first: int, learning_rates: np.ndarray
    ) -> None:
        """See Trainer."""
        self._saved = None
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

    def gradients(
        self, order: Tensor, crops: AugmentationDraws | None, number: int, learning_rate: float
    ) -> dict[str, Tensor]:
        """See Trainer."""
        data, size = self._data, self._batch_size
        rows = slice(number * size, (number + 1) * size)
        chosen, inputs = order.numpy()[rows], None
        if self._images is not None:
            factors = self._own.factors(self._images, self._labels, chosen)
        else:
            inputs = data.batch(order, crops, rows, self._buffer)
            factors = self._own.factors(self._array(inputs), self._labels[chosen],
                                        np.arange(len(chosen)))
        if factors is not None:
            return self._products(factors)
        if inputs is None:
            inputs = data.batch(order, crops, rows, self._buffer)
        momenta, network = self.momenta(), self._network.train()
        network.zero_grad()
        cross_entropy(network(inputs), data.train_labels[order[rows]]).backward()
        if any(True for _ in network.buffers()):
            # The statistics of normalisations have moved.
            self._reload(momenta)
        return {name: parameter.grad for name, parameter in network.named_parameters()
                if parameter.grad is not None}

    def _products(self, factors: list[tuple[Images, Images]]) -> dict[str, Tensor]:
        """Return the gradients of a perceptron's parameters from their factors."""
        architecture = self._own.architecture
        names, found = iter(architecture.parameters), {}
        for linear, (gradient, inputs) in zip(architecture.linears, factors, strict=True):
            results = torch.from_numpy(gradient)
            found[next(names)] = results @ torch.from_numpy(inputs).T
            if linear.biased:
                found[next(names)] = results.sum(1)
        return found

    def remask(self, masks: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> None:
        """See Trainer."""
        names = self._own.architecture.parameters
        self._own.remask(
            [masks[name].numpy() if name in masks else None for name in names],
            {names.index(name): value.numpy() for name, value in values.items()},
        )
        self._masks, self._saved = dict(masks), None

    def _reload(self, momenta: Mapping[str, Tensor]) -> None:
        """Copy the network, under the masks, and its momenta into the kernels again."""
        parameters = dict(self._network.named_parameters())
        reload(self._own, self._network, _partial(self._masks, parameters),
               {parameters[name]: momentum for name, momentum in momenta.items()})
        self._saved = None

    def unmask(self) -> None:
        """See Trainer. Never called: levels whose masks are lifted use the general path."""

    def evaluate(self, part: str) -> tuple[float, float]:
        """See Trainer."""
        loss, hits, examples = 0.0, 0.0, 0
        for images, labels in self._batches(part):
            result, count = self._own.evaluate(self._inputs(images), labels), len(labels)
            loss, hits = loss + result.loss * count, hits + result.accuracy * count
            examples += count
        return loss / examples, round(hits) / examples

    def predictor(self) -> Callable[[str], Tensor]:
        """See Trainer."""
        return self._logits

    def _logits(self, part: str) -> Tensor:
        parts = [self._own.evaluate(self._inputs(images), labels).logits
                 for images, labels in self._batches(part)]
        return torch.from_numpy(np.concatenate(parts))

    def weights(self, names: Iterable[str]) -> dict[str, Tensor]:
        """See Trainer."""
        places = {name: i for i, name in enumerate(self._own.architecture.parameters)}
        return {name: torch.from_numpy(self._own.parameter(places[name])) for name in names}

    def state(self) -> dict[str, Tensor]:
        """See Trainer."""
        self.momenta()
        return {
            name: tensor.detach().clone(memory_format=torch.contiguous_format)
            for name, tensor in self._network.state_dict().items()
        }

    def momenta(self) -> dict[str, Tensor]:
        """See Trainer."""
        if self._saved is None:  # the network is behind the kernels
            momenta = save(self._own, self._network)
            self._saved = {name: momenta[p].contiguous()
                           for name, p in self._network.named_parameters()}
        return dict(self._saved)

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

    @staticmethod
    def _array(images: Tensor) -> Images:
        """Return images as a contiguous array, without a copy if they already are one."""
        return images.contiguous().numpy()


class SparseTrainerFactory:
    """Makes the trainers of networks with one architecture, which is read from the first network.

    network: the first network. costs: the costs that decide about the kernels. tell: called before
    the first trainer is made, if that takes long because kernels have to be compiled.
    """

    def __init__(
        self, network: nn.Module, data: DeviceDataset, train: Train, costs: KernelCosts,
        tell: Callable[[], object] = lambda: None,
    ) -> None:
        self._data = data
        self._train = train
        self._costs = costs
        single = all(p.dtype == torch.float32 for p in network.parameters())
        self._architecture = match(network, data.data.input_shape) if single else None
        self._tell = tell
        if self._architecture is not None:
            self._needed = ahead.Needed.by(self._architecture, train.batch_size)
            ahead.start(self._needed)

    def make(
        self,
        network: nn.Module,
        masks: Mapping[str, Tensor],
        momenta: Mapping[str, Tensor] | None,
        kernels: tuple[str, ...] | None,
        chosen_by: Mapping[str, Tensor] | None = None,
    ) -> SparseTrainer | None:
        """Return a trainer with sparse kernels; None if the general path is required or faster.

        kernels: the kernels of a checkpoint, which must be used; None: the costs decide.
        chosen_by: the masks that they decide by, if `masks` move during the training.
        """
        architecture, chosen_by = self._architecture, masks if chosen_by is None else chosen_by
        # It may differ from the first network, for example by hooks.
        if architecture is None or not is_plain(network):
            return None
        parameters = dict(network.named_parameters())
        # Masks that move may come to have any form.
        kept = {name: mask for name, mask in chosen_by.items()
                if chosen_by is not masks or not mask.all()}
        weights = [architecture.parameters[i] for i in architecture.weights()]
        if not kept.keys() <= set(weights):  # only weights may have masks
            return None
        arrays = [_array(kept, name, parameters[name]) for name in weights]
        pixels, step = architecture.pixels(), float("inf")
        if kernels is None and not self._costs.gains(arrays[: len(pixels) or None], pixels):
            return None
        if not pixels:  # a residual network uses sparse kernels only, and its steps are long
            kernels, step = kernels or self._costs.choose(arrays), self._costs.step(arrays)
        ahead.wait(self._needed, self._tell)
        own = load(
            architecture, network, _partial(masks, parameters),
            SgdSettings(self._momentum(), self._train.weight_decay),
            momenta=None if momenta is None else {parameters[n]: m for n, m in momenta.items()},
            kernels=kernels, threads=_threads(step),
        )  # fmt: skip
        return SparseTrainer(network, own, masks, data=self._data,
                             batch_size=self._train.batch_size)

    def _momentum(self) -> float:
        momentum = self._train.optimizer.sgd_momentum
        assert momentum is not None  # other optimizers use the general path
        return momentum


def _threads(step: float) -> int:
    """Return the number of threads for a step of this cost on one thread, in nanoseconds: at most
    two, because a step is short and a sweep uses the other cores."""
    return 1 if step < WORTH_SHARING else min(2, torch.get_num_threads())


def _partial(
    masks: Mapping[str, Tensor], parameters: Mapping[str, Tensor]
) -> dict[Tensor, Tensor]:
    """Return the masks that prune anything, by parameter."""
    # numpy is many times as fast here as torch.
    return {parameters[name]: mask for name, mask in masks.items() if not mask.numpy().all()}


def _array(kept: Mapping[str, Tensor], name: str, weight: Tensor) -> NDArray[np.bool_]:
    return kept[name].numpy() if name in kept else np.ones(weight.shape, bool)

"""Networks, masks and random data to train, and the plain way to train them."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from sdd_core import Augmentation, Dataset, Experiment, Pruner, Split
from sdd_core.data.resident import DeviceDataset
from sdd_core.plugin.isolation import Guard
from sdd_core.sparse.costs import KernelCosts
from sdd_core.training.dense_trainer import DenseTrainer
from sdd_core.training.observation import Observation
from sdd_core.training.select import TrainerFactory
from sdd_core.training.trainer import Trainer

EXAMPLES, BATCH = 100, 32  # the last batch of an epoch is smaller
SHAPE = (3, 8, 8)


def dataset(shape: tuple[int, ...] = SHAPE, *, augmented: bool = False, seed: int = 0) -> Dataset:
    """Random bytes for images, other floats; labels that a network can learn."""
    draw = torch.Generator().manual_seed(seed)

    def split() -> Split:
        labels = torch.randint(5, (EXAMPLES,), generator=draw)
        noise = torch.randn(EXAMPLES, *shape, generator=draw)
        values = noise + (labels - 2).view(-1, *(1,) * len(shape))
        if len(shape) == 3:
            return Split((values * 32 + 128).clamp(0, 255).byte(), labels)
        return Split(values, labels)

    augmentation = Augmentation(pad=1, flip=True) if augmented else None
    mean, std = ((0.5,) * 3, (0.2,) * 3) if len(shape) == 3 else ((), ())
    return Dataset("random", split(), split(), 5, mean, std, augmentation=augmentation)


def resident(data: Dataset) -> DeviceDataset:
    return DeviceDataset(data, torch.device("cpu"), augment=True)


def perceptron(*widths: int, seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    layers = [nn.Flatten()]
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def random_masks(network: nn.Module, density: float, seed: int = 0) -> dict[str, Tensor]:
    """A mask for each weight of a linear or convolutional layer."""
    draw = torch.Generator().manual_seed(seed)
    return {
        name: torch.rand(parameter.shape, generator=draw) < density
        for name, parameter in network.named_parameters()
        if parameter.dim() > 1
    }


def experiment(engine: str = "auto", **train: object) -> Experiment:
    settings = {"batch_size": BATCH, "weight_decay": 1e-3, **train}
    return Experiment.make({"kernels": engine, "train": settings})


def trainer(
    network: nn.Module,
    masks: Mapping[str, Tensor],
    data: Dataset,
    engine: str = "auto",
    costs: KernelCosts | None = None,
    **options,
) -> Trainer:
    trainers = TrainerFactory(network, resident(data), experiment(engine), costs)
    return trainers.make(network, masks, **options)


def take_steps(trainer: Trainer, data: Dataset, first: int, count: int, rate: float = 0.05) -> None:
    """The steps number `first` to `first + count` of training, epoch after epoch."""
    source = resident(data)
    steps_per_epoch = -(-EXAMPLES // BATCH)
    while count:
        epoch, batch = divmod(first, steps_per_epoch)
        taken = min(count, steps_per_epoch - batch)
        order, crops = source.order(0, 1, epoch), source.crops(0, 1, epoch)
        trainer.steps(order, crops, batch, np.full(taken, rate))
        first, count = first + taken, count - taken


def plain_steps(
    network: nn.Module,
    masks: Mapping[str, Tensor],
    data: Dataset,
    count: int,
    rate: float = 0.05,
) -> torch.optim.SGD:
    """The first steps of training as a textbook has them: torch's optimizer, and the masks applied
    to the weights after each step. Weights that are pruned must start at zero."""
    source = resident(data)
    train = experiment().train
    optimizer = torch.optim.SGD(network.parameters(), lr=rate, weight_decay=train.weight_decay,
                                momentum=train.optimizer.momentum)
    weights = dict(network.named_parameters())
    with torch.no_grad():
        for name, mask in masks.items():
            weights[name].mul_(mask)
    network.train()
    for epoch in range(count):
        order = source.order(0, 1, epoch)
        for chosen in order.split(BATCH):
            if count == 0:
                return optimizer
            optimizer.zero_grad()
            loss = cross_entropy(network(source.train_images[chosen]), source.train_labels[chosen])
            loss.backward()
            optimizer.step()
            with torch.no_grad():
                for name, mask in masks.items():
                    weights[name].mul_(mask)
            count -= 1
    return optimizer


def observed_network() -> nn.Module:
    """With a convolution, a batch normalisation and a linear layer."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.ReLU(), nn.BatchNorm2d(6), nn.Flatten(), nn.Linear(216, 5)
    )


def textbook_steps(
    masks: Mapping[str, Tensor], count: int
) -> list[tuple[dict[str, Tensor], dict[str, Tensor]]]:
    """The weights and the gradients before each step of masked SGD, in double precision."""
    net, source = observed_network().double(), resident(dataset())
    weights = dict(net.named_parameters())
    sgd = torch.optim.SGD(weights.values(), lr=0.05, momentum=0.9, weight_decay=1e-3)

    def put_back() -> None:
        with torch.no_grad():
            for name, mask in masks.items():
                weights[name].mul_(mask)

    put_back()
    found = []
    batches = [c for epoch in range(count) for c in source.order(0, 1, epoch).split(BATCH)]
    for chosen in batches[:count]:
        sgd.zero_grad()
        cross_entropy(net(source.train_images[chosen].double()),
                      source.train_labels[chosen]).backward()
        found.append(({n: p.detach().clone() for n, p in weights.items()},
                      {n: p.grad.clone() for n, p in weights.items()}))
        sgd.step()
        put_back()
    found.append(({n: p.detach().clone() for n, p in weights.items()}, {}))
    return found


def observed_steps(
    pruner: Pruner, masks: Mapping[str, Tensor], count: int
) -> tuple[dict[str, Tensor], DenseTrainer]:
    """What a pruner has observed after the same steps of the general path."""
    observation = Observation(pruner, Guard(0), 1, count, masks, torch.device("cpu"))
    trainer = DenseTrainer(observed_network(), masks, resident(dataset()), experiment().train,
                           observation=observation)
    take_steps(trainer, dataset(), 0, count)
    return observation.state(), trainer


def gap(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> float:
    """The largest difference between two states, by the largest number of each tensor."""
    assert list(one) == list(other)
    differences = [
        float((a.double() - b.double()).abs().max() / b.double().abs().max().clamp(min=1e-3))
        for a, b in zip(one.values(), other.values(), strict=True)
        if a.numel()
    ]
    return max(differences)


def assert_equal(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> None:
    """Two states agree bit for bit."""
    assert list(one) == list(other)
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name

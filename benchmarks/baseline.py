"""What the benchmarks compare with, and how they measure.

Two baselines, written from the descriptions of how pruning frameworks train (masks on dense
weights, `torch.optim.SGD`):

- `Eager` keeps the data set in memory as normalised tensors and takes plain torch steps;
- `loader` feeds a network from a DataLoader that turns one image after another into a PIL image and
  applies torchvision's transforms, as the published code of He et al. (2022) and OpenLTH do it; two
  workers do that, one for each core, or none (the default of OpenLTH).
"""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from sdd_core import Dataset, Experiment, Split
from sdd_core.data.resident import DeviceDataset
from sdd_core.level.masks import full_masks, prunable_weights
from sdd_core.pruning.prune import prune_to
from sdd_core.sparse.processor import instruction_set
from sdd_core.training.select import TrainerFactory
from sdd_core.training.trainer import Trainer

CPU = torch.device("cpu")
BATCH = 128
WORKERS = 2


def processor_time() -> float:
    """Seconds that all processors spent on this process and its children that have ended."""
    children = os.times()
    return process_time() + children.children_user + children.children_system


@dataclass(frozen=True)
class Clock:
    """Wall time, the baseline having one thread of torch or two, whichever is faster. On a busy
    machine that says little: there it can be processor time, and one thread for everybody."""

    now: Callable[[], float] = perf_counter
    threads: tuple[int, ...] = (1, 2)

    @staticmethod
    def chosen(parser: ArgumentParser) -> tuple[Namespace, Clock]:
        """The command line's arguments, `--processor-time` among them."""
        parser.add_argument("--processor-time", action="store_true",
                            help="for a busy machine: one thread each, by processor time")
        args = parser.parse_args()
        clock = Clock(processor_time, (1,)) if args.processor_time else Clock()
        torch.set_num_threads(max(clock.threads))
        return args, clock

    def measure(self, works: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, float]:
        """Median seconds of each, run in turn; a first round warms up and is not counted."""
        times: dict[str, list[float]] = {name: [] for name in works}
        for number in range(repeats + 1):
            for name, work in works.items():
                start = self.now()
                work()
                if number:
                    times[name].append(self.now() - start)
        return {name: median(values) for name, values in times.items()}

    def with_threads(self, name: str, work: Callable[[], object]) -> dict[str, Callable]:
        """The work with each number of torch threads, for `measure`."""
        return {f"{name} {count}": with_threads(count, work) for count in self.threads}


def fastest(times: Mapping[str, float], name: str) -> float:
    """Of what `Clock.with_threads` called `name`."""
    return min(seconds for key, seconds in times.items() if key.rpartition(" ")[0] == name)


def with_threads(count: int, work: Callable[[], object]) -> Callable[[], object]:
    """Some work with so many threads of torch."""

    def limited() -> None:
        before = torch.get_num_threads()
        torch.set_num_threads(count)
        work()
        torch.set_num_threads(before)

    return limited


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a markdown table."""
    for row in (head, ["---"] * len(head), *rows):
        print("| " + " | ".join(row) + " |", flush=True)
    print()


def targets(avx512: Sequence[float], avx2: Sequence[float]) -> Sequence[float]:
    """The targets for this kind of processor; those of AVX2 where it has neither."""
    return avx512 if instruction_set() == "avx512" else avx2


def milliseconds(seconds: float) -> str:
    return f"{1e3 * seconds:.3g}"


def fashion_mnist(root: Path | None) -> Dataset:
    """Fashion-MNIST, from the folder that `sdd run --data-root` would take."""
    return Experiment.make({"data": "fashion-mnist"}).data.load(root)


def first(data: Dataset, examples: int) -> Dataset:
    """The data set with fewer training images, where time grows with their number alone."""
    train = Split(data.train.images[:examples], data.train.labels[:examples])
    return replace(data, train=train)


def random_images(shape: tuple[int, ...], examples: int) -> Dataset:
    draw = torch.Generator().manual_seed(0)
    images = torch.randint(256, (examples, *shape), generator=draw, dtype=torch.uint8)
    split = Split(images, torch.randint(10, (examples,), generator=draw))
    return Dataset("random", split, split, 10, (0.5,) * shape[0], (0.25,) * shape[0])


def settings(model: str | dict = "mlp", kernels: str = "auto", **train: object) -> Experiment:
    return Experiment.make({"model": model, "kernels": kernels, "train": train})


def build(experiment: Experiment, data: Dataset) -> nn.Module:
    """The same initial network at every call."""
    torch.manual_seed(0)
    return experiment.model.build(data.input_shape, data.num_classes)


def apply(network: nn.Module, masks: Mapping[str, Tensor]) -> None:
    """Set pruned weights to zero."""
    with torch.no_grad():
        for name, mask in masks.items():
            network.get_parameter(name).mul_(mask)


class Eager:
    """Plain torch steps of SGD on resident tensors; gradients are multiplied by the masks."""

    def __init__(
        self,
        network: nn.Module,
        masks: Mapping[str, Tensor],
        data: DeviceDataset,
        experiment: Experiment,
    ) -> None:
        self.network = network
        self.data = data
        self.masks = [(network.get_parameter(name), mask) for name, mask in masks.items()]
        apply(network, masks)
        train = experiment.train
        self.optimizer = torch.optim.SGD(
            network.parameters(), lr=train.lr, momentum=train.optimizer.momentum,
            weight_decay=train.weight_decay,
        )  # fmt: skip

    def step(self, images: Tensor, labels: Tensor) -> None:
        self.optimizer.zero_grad()
        cross_entropy(self.network(images), labels).backward()
        for weight, mask in self.masks:
            assert weight.grad is not None
            weight.grad.mul_(mask)
        self.optimizer.step()

    def steps(self, order: Tensor, rate: float) -> None:
        """One step for each batch of `order`."""
        self.network.train()
        self.optimizer.param_groups[0]["lr"] = rate
        for chosen in order.split(BATCH):
            self.step(self.data.train_images[chosen], self.data.train_labels[chosen])

    @torch.no_grad()
    def evaluate(self, images: Tensor, labels: Tensor) -> float:
        """Accuracy, in batches of 1,000."""
        self.network.eval()
        hits = sum(
            (self.network(part).argmax(1) == answers).sum()
            for part, answers in zip(images.split(1000), labels.split(1000), strict=True)
        )
        return int(hits) / len(labels)


class _Images(TorchDataset):
    def __init__(self, split: Split, transform: Callable) -> None:
        from PIL import Image  # noqa: PLC0415 (only this baseline needs it)

        self.split = split
        self.transform = transform
        self.image = Image.fromarray

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, number: int) -> tuple[Tensor, int]:
        pixels = self.split.images[number].permute(1, 2, 0).squeeze(2).numpy()
        return self.transform(self.image(pixels)), int(self.split.labels[number])


def loader(
    data: Dataset, split: Split, *, train: bool, pad: int = 0, workers: int = WORKERS
) -> DataLoader:
    """A DataLoader with torchvision's transforms; with `pad` it crops and flips at random."""
    from torchvision import transforms  # noqa: PLC0415 (takes seconds)

    augment = [transforms.RandomCrop(data.input_shape[1:], pad), transforms.RandomHorizontalFlip()]
    chain = [transforms.ToTensor(), transforms.Normalize(data.mean, data.std)]
    images = _Images(split, transforms.Compose([*(augment if pad else []), *chain]))
    return DataLoader(images, batch_size=BATCH, shuffle=train, num_workers=workers)


def loader_epoch(eager: Eager, batches: DataLoader) -> None:
    eager.network.train()
    for images, labels in batches:
        eager.step(images, labels)


@torch.no_grad()
def loader_evaluation(network: nn.Module, batches: DataLoader) -> float:
    network.eval()
    hits = sum(int((network(images).argmax(1) == labels).sum()) for images, labels in batches)
    return hits / len(batches.dataset)  # type: ignore[arg-type]


def epoch(trainer: Trainer, data: DeviceDataset, number: int, rate: float) -> None:
    """An epoch of sdd's own training."""
    steps = -(-len(data) // BATCH)
    order, crops = data.order(0, 0, number), data.crops(0, 0, number)
    trainer.steps(order, crops, 0, np.full(steps, rate))


def imp(
    experiment: Experiment,
    data: DeviceDataset,
    sparsities: Sequence[float],
    *,
    epochs: int,
    each: float,
) -> list[tuple[float, nn.Module, dict[str, Tensor]]]:
    """Networks and masks from iterative magnitude pruning: train, prune, go on. Prunes the
    fraction `each` of what is left, and stops over at the `sparsities`."""
    network = build(experiment, data.data)
    masks = full_masks(prunable_weights(network))
    found, reached = [], 0.0
    rate = experiment.train.lr
    for wanted in sparsities:
        while reached < wanted:
            trainer = TrainerFactory(network, data, experiment).make(network, masks)
            for number in range(epochs):
                epoch(trainer, data, number, rate)
            state = trainer.state()
            reached = min(wanted, 1 - (1 - reached) * (1 - each))
            scores = {name: state[name].abs() for name in masks}
            masks = prune_to(masks, scores, reached, experiment.pruner.scope)
            network = build(experiment, data.data)
            network.load_state_dict(state)
        apply(network, masks)
        found.append((wanted, network, masks))
    return found

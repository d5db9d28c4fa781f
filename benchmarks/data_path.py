"""The data path and the general path: nothing sparse yet.

    python benchmarks/data_path.py [--data-root FOLDER] [--repeats N] [--examples N]

Four comparisons on LeNet-300-100 and Fashion-MNIST, or images of CIFAR's size:

- a dense training epoch, and an evaluation of the training set, against a loop over a DataLoader
  with torchvision's transforms, without workers and with two; both take the same images;
- random crops and flips, in images per second, against the same DataLoader;
- a step of the general path against its matrix products alone.

The products and the step have two threads of torch or one, whichever is faster.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from baseline import (
    BATCH,
    CPU,
    WORKERS,
    Clock,
    Eager,
    build,
    epoch,
    fashion_mnist,
    fastest,
    first,
    loader,
    loader_epoch,
    loader_evaluation,
    milliseconds,
    random_images,
    settings,
    table,
    targets,
)

from sdd_core import Augmentation, Dataset
from sdd_core.data.resident import DeviceDataset
from sdd_core.training.dense_trainer import DenseTrainer
from sdd_core.training.select import TrainerFactory


def against_loader(data: Dataset, repeats: int, clock: Clock) -> list[list[str]]:
    experiment, resident = settings(), DeviceDataset(data, CPU, augment=False)
    network = build(experiment, data)
    ours = TrainerFactory(network, resident, experiment).make(network, {})
    eager = Eager(build(experiment, data), {}, resident, experiment)
    works = {
        "epoch": lambda: epoch(ours, resident, 0, 0.1),
        "evaluation": lambda: ours.evaluate("train"),
    }
    for workers in (0, WORKERS):
        training, evaluation = (
            loader(data, data.train, train=train, workers=workers) for train in (True, False)
        )
        works |= {
            f"epoch {workers}": lambda batches=training: loader_epoch(eager, batches),
            f"evaluation {workers}": lambda batches=evaluation: loader_evaluation(
                eager.network, batches
            ),
        }
    times = clock.measure(works, repeats)
    rows = []
    asked = targets(avx512=(16, 45), avx2=(14, 40))
    for name, target in zip(("epoch", "evaluation"), asked, strict=True):
        for workers, how in ((0, "no workers"), (WORKERS, "two workers")):
            theirs, own = times[f"{name} {workers}"], times[name]
            rows.append([f"dense {name} of {len(data.train):,} images, {how}", f"{theirs:.2f} s",
                         f"{own:.3f} s", f"{theirs / own:.1f}x", f"{target}x"])
    return rows


def augmentation(repeats: int, examples: int, clock: Clock) -> list[str]:
    data = replace(random_images((3, 32, 32), examples), augmentation=Augmentation(4, True))
    resident = DeviceDataset(data, CPU, augment=True)
    order, crops, buffer = resident.order(0, 0, 0), resident.crops(0, 0, 0), resident.buffer(BATCH)

    def ours() -> None:
        for start in range(0, examples, BATCH):
            resident.batch(order, crops, slice(start, start + BATCH), buffer)

    def theirs() -> None:
        for _ in loader(data, data.train, train=True, pad=4):
            pass

    times = clock.measure({"theirs": theirs, "ours": ours}, repeats)
    rates = [examples / times[name] for name in ("theirs", "ours")]
    return ["cropped and flipped 3x32x32 images a second", *(f"{rate:,.0f}" for rate in rates),
            f"{rates[1] / rates[0]:.1f}x", "30x"]


def products(repeats: int, clock: Clock) -> list[str]:
    data, experiment = random_images((1, 28, 28), 20 * BATCH), settings(kernels="none")
    resident = DeviceDataset(data, CPU, augment=False)
    trainer = DenseTrainer(build(experiment, data), {}, resident, experiment.train)
    order, rates = torch.arange(20 * BATCH), np.full(20, 0.1)
    shapes = [(784, 300), (300, 100), (100, 10)]
    weights = [torch.randn(outputs, inputs) for inputs, outputs in shapes]
    inputs = [torch.randn(BATCH, size) for size, _ in shapes]
    outputs = [torch.randn(BATCH, size) for _, size in shapes]

    def alone() -> None:
        for _ in range(20):
            for number, (weight, before, after) in enumerate(
                zip(weights, inputs, outputs, strict=True)
            ):
                before @ weight.t()
                after.t() @ before
                if number:
                    after @ weight

    times = clock.measure(
        {
            **clock.with_threads("products", alone),
            **clock.with_threads("step", lambda: trainer.steps(order, None, 0, rates)),
        },
        5 * repeats,
    )
    (alone_, step) = (fastest(times, name) / 20 for name in ("products", "step"))
    return ["step of the general path against its matrix products", f"{milliseconds(alone_)} ms",
            f"{milliseconds(step)} ms", f"{step / alone_:.2f}x as long", "at most 1.6x"]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--examples", type=int, default=10_000, help="images of an epoch")
    args, clock = Clock.chosen(parser)
    data = first(fashion_mnist(args.data_root), args.examples)
    table(
        ["", "baseline", "sdd", "ratio", "target"],
        [
            *against_loader(data, args.repeats, clock),
            augmentation(args.repeats, args.examples, clock),
            products(args.repeats, clock),
        ],
    )


if __name__ == "__main__":
    main()

"""A sweep of 25 levels of LeNet-300-100 on 60,000 images of Fashion-MNIST.

    python benchmarks/sweep.py [--data-root FOLDER] [--epochs N] [--levels N] [--repeats N]
                               [--plot FILE.png]

One seed on two cores, one on one, and two seeds in two processes side by side, against the same
levels in plain torch on resident tensors under dense masks (with two threads of torch or one,
whichever is faster), and against what a DataLoader with torchvision's transforms would take,
estimated from one epoch and one evaluation of it. `sdd` also stores every level. It is asked for no
metrics, as the baseline computes none but loss and accuracy.

A level trains 3 epochs unless told otherwise, where the paper trains many more: the time grows with
them alike.

With --plot, draws the time of a level as its density falls.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from statistics import median

import torch
from baseline import (
    CPU,
    Clock,
    Eager,
    build,
    fashion_mnist,
    first,
    loader,
    loader_epoch,
    loader_evaluation,
    table,
    targets,
)
from sweeps import eager_sweep, replicas

from sdd_core import Dataset, Experiment
from sdd_core.data.resident import DeviceDataset


def plain(experiment: Experiment, data: Dataset, clock: Clock) -> list[float]:
    """Seconds of each level with the faster number of threads."""
    sweeps = []
    for threads in clock.threads:
        torch.set_num_threads(threads)
        sweeps.append(eager_sweep(experiment, data, clock))
    return min(sweeps, key=sum)


def dataloader(experiment: Experiment, data: Dataset, clock: Clock) -> float:
    """Seconds that a sweep by DataLoader would take, estimated from a sixth of the images."""
    share, data = 6, first(data, len(data.train) // 6)
    eager = Eager(build(experiment, data), {}, DeviceDataset(data, CPU, augment=False), experiment)
    batches = {part: loader(data, getattr(data, part), train=False) for part in ("train", "test")}
    times = clock.measure(
        {
            "epoch": lambda: loader_epoch(eager, batches["train"]),
            "train": lambda: loader_evaluation(eager.network, batches["train"]),
            "test": lambda: loader_evaluation(eager.network, batches["test"]),
        },
        1,
    )
    epochs = experiment.train.epochs
    # The training set is evaluated where an epoch may be the best: here after the last one only.
    level = epochs * (share * times["epoch"] + times["test"]) + share * times["train"]
    return (experiment.levels + 1) * level


def draw(path: Path, densities: list[float], lines: dict[str, list[float]]) -> None:
    import matplotlib.pyplot as plt  # noqa: PLC0415 (takes a second)

    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    for (name, seconds), style in zip(lines.items(), ("o-", "o-", "--"), strict=True):
        axes.loglog([100 * density for density in densities], seconds, style, label=name, ms=3)
    axes.invert_xaxis()
    axes.set(xlabel="density, % of weights kept", ylabel="seconds a level",
             title="Cost of a level as density falls (LeNet-300-100)")
    axes.legend()
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--levels", type=int, default=25)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--plot", type=Path)
    args, clock = Clock.chosen(parser)
    root = str(args.data_root) if args.data_root else None
    settings = {"data": "fashion-mnist", "train": {"epochs": args.epochs}, "levels": args.levels,
                "metrics": []}
    experiment, data = Experiment.make(settings), fashion_mnist(args.data_root)
    eager, one, single, two = [], [], [], []
    one_core = replace(clock, threads=(1,))
    with (
        replicas(1, clock, root) as alone,
        replicas(1, one_core, root) as narrow,
        replicas(2, clock, root) as pair,
    ):
        for _ in range(args.repeats):
            eager.append(plain(experiment, data, clock))
            one.append(alone.run([settings]))
            single.append(narrow.run([settings])[1])
            two.append(pair.run([{**settings, "seed": seed} for seed in (0, 1)])[1])
    theirs = median(sum(levels) for levels in eager)
    ours, both = median(seconds for _, seconds in one), median(two)
    slower = median(single)
    slow = dataloader(experiment, data, clock)
    asked = targets(avx512=(6, 9), avx2=(5.5, 7.5))
    table(
        ["", "baseline", "sdd", "ratio", "target"],
        [
            ["one seed against dense masks", f"{theirs:.1f} s", f"{ours:.1f} s",
             f"{theirs / ours:.1f}x", f"{asked[0]}x"],
            ["two seeds side by side against the same one after the other", f"{2 * theirs:.1f} s",
             f"{both:.1f} s", f"{2 * theirs / both:.1f}x", f"{asked[1]}x"],
            ["one seed against a DataLoader (estimated)", f"{slow:.0f} s", f"{ours:.1f} s",
             f"{slow / ours:.0f}x", "40x"],
            ["two seeds side by side against one on one core", f"{slower:.1f} s", f"{both:.1f} s",
             f"{both / slower:.2f}x as long", "at most 1.2x"],
        ],
    )  # fmt: skip
    densities = [0.8**level for level in range(args.levels + 1)]
    dense, sparse = (
        [median(level) for level in zip(*runs, strict=True)]
        for runs in (eager, [levels for levels, _ in one])
    )
    table(["density", "dense masks, s", "sdd, s"],
          [[f"{density:.1%}", f"{slow:.2f}", f"{fast:.2f}"]
           for density, slow, fast in zip(densities, dense, sparse, strict=True)])
    if args.plot:
        ideal = [median(dense) * density for density in densities]  # the first one warms up
        draw(args.plot, densities,
             {"dense masks": dense, "sdd": sparse, "proportional to density": ideal})


if __name__ == "__main__":
    main()

"""A training step of ResNet-20 as density falls, on images of CIFAR's size.

    python benchmarks/resnet_step.py IMAGES [--repeats N] [--width N]

IMAGES is a folder with `train/CLASS/IMAGE` and `test/CLASS/IMAGE`, 32x32 pixels, for example
CIFAR-10 unpacked. Masks come from iterative magnitude pruning on them: 60 % of the weights go
again and again, after an epoch of training each. The baseline is a plain torch step under dense
masks, channels-last, with two threads of torch or one, whichever is faster; the sparse path has
two.
"""

from __future__ import annotations

import argparse
from copy import deepcopy
from pathlib import Path

import numpy as np
import torch
from baseline import (
    BATCH,
    CPU,
    Clock,
    Eager,
    fastest,
    imp,
    milliseconds,
    settings,
    table,
    targets,
)

from sdd_core import Experiment
from sdd_core.data.resident import DeviceDataset
from sdd_core.training.select import TrainerFactory

SPARSITIES = (0.5, 0.8, 0.95, 0.98, 0.99)
TARGETS = {"avx512": (1.6, 2.5, 4.5, 6, 8), "avx2": (1.2, 2, 4.5, 6, 8)}
STEPS = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("images", type=Path)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--width", type=int, default=16)
    args, clock = Clock.chosen(parser)
    source = {"name": "image-folder", "path": str(args.images.resolve())}
    data = DeviceDataset(Experiment.make({"data": source}).data.load(None), CPU, augment=False)
    experiment = settings({"name": "resnet20", "width": args.width}, lr=0.05, weight_decay=1e-4)
    order, rates, rows = torch.arange(STEPS * BATCH), np.full(STEPS, 0.001), []
    asked = dict(zip(SPARSITIES, targets(**TARGETS), strict=True))
    for sparsity, network, masks in imp(experiment, data, SPARSITIES, epochs=1, each=0.6):
        plain = deepcopy(network).to(memory_format=torch.channels_last)
        eager = Eager(plain, masks, data, experiment)
        ours = TrainerFactory(network, data, experiment).make(deepcopy(network), masks)
        works = {"sparse": lambda ours=ours: ours.steps(order, None, 0, rates)}
        works |= clock.with_threads("eager", lambda eager=eager: eager.steps(order, 0.001))
        measured = clock.measure(works, args.repeats)
        times = {name: seconds / STEPS for name, seconds in measured.items()}
        theirs, own = fastest(times, "eager"), times["sparse"]
        live = sum(int(m.flatten(1).any(1).sum()) for m in masks.values())
        units = sum(len(mask) for mask in masks.values())
        path = "sparse" if ours.kernels else "general"
        rows.append([f"{sparsity:.0%}", f"{live / units:.0%}", path, milliseconds(theirs),
                     milliseconds(own), f"{theirs / own:.1f}x", f"{asked[sparsity]:g}x"])
    head = ["sparsity", "channels with weights", "path", "eager ms", "sdd ms", "ratio", "target"]
    table(head, rows)


if __name__ == "__main__":
    main()

"""A training step of LeNet-300-100 as its density falls.

    python benchmarks/sparse_step.py [--data-root FOLDER] [--repeats N] [--steps N]

Networks come from iterative magnitude pruning on Fashion-MNIST: a fifth of the weights goes again
and again, after two epochs of training each. A step takes its batch of 128 from resident images.
The baseline is a plain torch step under dense masks, with two threads of torch or one, whichever
is faster. The sparse path has two threads as well and uses the second where a step is worth it;
side by side two networks have one each.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from pathlib import Path

import numpy as np
import torch
from baseline import (
    BATCH,
    CPU,
    Clock,
    Eager,
    fashion_mnist,
    fastest,
    imp,
    milliseconds,
    settings,
    table,
    targets,
)

from sdd_core.data.resident import DeviceDataset
from sdd_core.training.select import TrainerFactory
from sdd_core.training.trainer import Trainer

SPARSITIES = (0.0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.995)
TARGETS = {"avx512": (1.8, 2.8, 6, 9, 15, 26, 40), "avx2": (1.3, 2.8, 5, 7.5, 11, 19, 32)}


def rows(data: DeviceDataset, repeats: int, steps: int, clock: Clock) -> list[list[str]]:
    experiment = settings(lr=0.05, weight_decay=1e-4)
    order = torch.from_numpy(np.random.default_rng(1).permutation(len(data)))[: steps * BATCH]
    rates = np.full(steps, 0.001)
    asked = dict(zip(SPARSITIES, targets(**TARGETS), strict=True))
    found = []
    for sparsity, network, masks in imp(experiment, data, SPARSITIES, epochs=2, each=0.2):
        eager = Eager(deepcopy(network), masks, data, experiment)
        trainers = []
        for threads in (max(clock.threads), 1, 1):
            torch.set_num_threads(threads)
            own = TrainerFactory(network, data, experiment).make(deepcopy(network), masks)
            trainers.append(own)
        torch.set_num_threads(max(clock.threads))
        alone, *pair = trainers
        pool = ThreadPoolExecutor(2)

        def ours(trainer: Trainer) -> None:
            trainer.steps(order, None, 0, rates)

        works: dict[str, Callable[[], object]] = {
            "one": lambda alone=alone: ours(alone),
            "two": lambda pair=pair, pool=pool: list(pool.map(ours, pair)),
        }
        works |= clock.with_threads("eager", lambda eager=eager: eager.steps(order, 0.001))
        times = {name: seconds / steps for name, seconds in clock.measure(works, repeats).items()}
        theirs = fastest(times, "eager")
        side_by_side = f"{2 * theirs / times['two']:.1f}x" if max(clock.threads) > 1 else ""
        found.append([
            f"{sparsity:.1%}", " ".join(alone.kernels) or "general", milliseconds(theirs),
            milliseconds(times["one"]), f"{theirs / times['one']:.1f}x",
            f"{asked[sparsity]:g}x", side_by_side,
        ])  # fmt: skip
    return found


def start_up() -> list[list[str]]:
    """Seconds until a first step in a new process, without and with compiled code at hand."""
    program = (
        "from time import perf_counter; import numpy as np; import torch; start = perf_counter();"
        "from sdd_core.sparse.architecture import Architecture, Linear;"
        "from sdd_core.sparse.network import SgdSettings, State;"
        "from sdd_core.sparse.perceptron import Perceptron;"
        "n = Perceptron(Architecture((Linear(64, 10, biased=False),)),"
        " State([np.ones((10, 64), 'f4')]), [None], SgdSettings(0.9, 0.0));"
        "x, y = np.ones((128, 64), 'f4'), np.zeros(128, np.int64);"
        "n.train_epoch(x, y, np.arange(128), 128, [0.1]); n.evaluate(x, y);"
        "print(f'{perf_counter() - start:.1f} s')"
    )
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"NUMBA_CACHE_DIR": folder}
        return [
            [name, subprocess.run([sys.executable, "-c", program], env=environment, check=True,
                                  capture_output=True, text=True).stdout.strip()]
            for name in ("compiling", "compiled before")
        ]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--steps", type=int, default=100, help="steps of each repeat")
    args, clock = Clock.chosen(parser)
    data = DeviceDataset(fashion_mnist(args.data_root), CPU, augment=False)
    head = ["sparsity", "kernels", "eager ms", "sparse ms", "ratio", "target", "two side by side"]
    table(head, rows(data, args.repeats, args.steps, clock))
    table(["first step and evaluation in a new process", "time"], start_up())


if __name__ == "__main__":
    main()

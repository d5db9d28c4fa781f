"""Training steps of the sparse path against eager steps of the same network under dense masks.

    python benchmarks/sparse_step.py [--fashion-mnist FOLDER] [--repeats N]

Prints, for LeNet-300-100 and for the digits' 64-300-100-10, the milliseconds of an eager masked
step on two torch threads and how many times faster the sparse path takes it: with one network on
one thread, and with two networks side by side on two threads. A step takes its batch of 128 from
resident float32 images. Both sides run alternately; every number is a median over the repeats.

Masks keep the largest weights of all layers together: of weights drawn alike everywhere, which
leaves every layer equally dense, or, with the training files of Fashion-MNIST, of a network that is
pruned by a fifth again and again after two epochs of training.
"""

from __future__ import annotations

import argparse
import gzip
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from sdd_core.sparse import SparseMLP, load, save

BATCH, LEARNING_RATE, MOMENTUM, WEIGHT_DECAY = 128, 0.05, 0.9, 1e-4
SPARSITIES = (0.0, 0.5, 0.67, 0.8, 0.9, 0.95, 0.98, 0.995)
LENET, DIGITS = (784, 300, 100, 10), (64, 300, 100, 10)


@dataclass
class Data:
    images: NDArray[np.float32]
    labels: NDArray[np.int64]

    def order(self, steps: int) -> NDArray[np.int64]:
        examples = np.random.default_rng(1).permutation(len(self.images))
        return np.resize(examples, steps * BATCH)


def random_data(examples: int, features: int) -> Data:
    random = np.random.default_rng(0)
    images = random.standard_normal((examples, features), np.float32)
    return Data(images, random.integers(0, 10, examples))


def fashion_mnist(folder: Path) -> Data:
    with gzip.open(folder / "train-images-idx3-ubyte.gz") as file:
        images = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 784)
    with gzip.open(folder / "train-labels-idx1-ubyte.gz") as file:
        labels = np.frombuffer(file.read(), np.uint8, offset=8).astype(np.int64)
    images = (images / 255 - 0.286) / 0.353
    return Data(images.astype(np.float32), labels)


def linears(sizes: tuple[int, ...]) -> list[nn.Linear]:
    torch.manual_seed(0)
    layers = [nn.Linear(inputs, outputs) for inputs, outputs in pairwise(sizes)]
    for layer in layers:
        nn.init.normal_(layer.weight, std=0.05)
    return layers


def prune(layers: list[nn.Linear], sparsity: float) -> list[torch.Tensor]:
    """Global magnitude pruning; sets what is pruned to zero."""
    magnitudes = torch.cat([layer.weight.detach().abs().flatten() for layer in layers])
    pruned = round(sparsity * magnitudes.numel())
    threshold = magnitudes.kthvalue(pruned).values if pruned else -1.0
    masks = [layer.weight.detach().abs() > threshold for layer in layers]
    for layer, mask in zip(layers, masks, strict=True):
        layer.weight.data *= mask
    return masks


def sparse(layers: list[nn.Linear], masks: list[torch.Tensor]) -> SparseMLP:
    return load(layers, masks, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY)


def trained(layers: list[nn.Linear], sparsity: float, data: Data) -> None:
    """Go on with iterative magnitude pruning up to `sparsity`."""
    density = torch.cat([layer.weight.detach().flatten() != 0 for layer in layers]).float().mean()
    density = density.item()
    while True:
        network = sparse(layers, prune(layers, 1 - density))
        order = np.random.default_rng(0).permutation(len(data.images))
        for _ in range(2):
            network.train_epoch(data.images, data.labels, order, BATCH, _rates(len(order)))
        save(network, layers)
        if density <= 1 - sparsity:
            return
        density = max(0.8 * density, 1 - sparsity)


def _rates(examples: int) -> list[float]:
    return [LEARNING_RATE] * -(-examples // BATCH)


def eager(
    layers: list[nn.Linear], masks: list[torch.Tensor], data: Data, steps: int
) -> Callable[[], float]:
    """Seconds of one of `steps` plain torch steps."""
    parts: list[nn.Module] = [nn.Flatten()]
    for layer in layers:
        copy = nn.Linear(layer.in_features, layer.out_features)
        copy.load_state_dict(layer.state_dict())
        parts += [copy, nn.ReLU()]
    model = nn.Sequential(*parts[:-1])
    masked = list(zip((p.weight for p in parts if isinstance(p, nn.Linear)), masks, strict=True))
    optimizer = torch.optim.SGD(
        model.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY
    )
    images, labels = torch.from_numpy(data.images), torch.from_numpy(data.labels)
    batches = torch.from_numpy(data.order(steps)).split(BATCH)

    def run() -> float:
        start = perf_counter()
        for batch in batches:
            loss = nn.functional.cross_entropy(model(images[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            for weight, mask in masked:
                assert weight.grad is not None
                weight.grad.mul_(mask)
            optimizer.step()
        return (perf_counter() - start) / steps

    return run


def ours(networks: list[SparseMLP], data: Data, steps: int) -> Callable[[], float]:
    """Seconds of one of `steps` steps that each of the networks takes, on a thread of its own."""
    order = data.order(steps)
    rates = _rates(len(order))
    pool = ThreadPoolExecutor(len(networks))

    def train(network: SparseMLP) -> float:
        return network.train_epoch(data.images, data.labels, order, BATCH, rates)

    def run() -> float:
        start = perf_counter()
        list(pool.map(train, networks))
        return (perf_counter() - start) / steps / len(networks)

    return run


def table(title: str, sizes: tuple[int, ...], data: Data, train: bool, args) -> None:
    print(f"\n{title}\nsparsity  kernels                eager ms  sparse ms  ratio  two networks")
    layers = linears(sizes)
    for sparsity in SPARSITIES:
        if train:
            trained(layers, sparsity, data)
        masks = prune(layers, sparsity)
        networks = [sparse(layers, masks) for _ in range(2)]
        runs = (
            eager(layers, masks, data, args.steps),
            ours(networks[:1], data, args.steps),
            ours(networks, data, args.steps),
        )
        for run in runs:
            run()
        times = [[run() for run in runs] for _ in range(args.repeats)]
        dense, one, two = (median(column) for column in zip(*times, strict=True))
        kernels = " ".join(networks[0].kernels)
        print(
            f"{sparsity:8.1%}  {kernels:21}  {dense * 1e3:8.3f}  {one * 1e3:9.4f}"
            f"  {dense / one:5.1f}  {dense / two:12.1f}",
            flush=True,
        )


def start_up() -> None:
    """Seconds until a first step in a new process, without and with compiled code at hand."""
    program = (
        "from time import perf_counter; start = perf_counter(); import numpy as np; import torch;"
        "torch_in = perf_counter(); from sdd_core.sparse import SparseMLP;"
        "n = SparseMLP([np.ones((10, 64), 'f4')], [None], [np.ones((10, 64), bool)],"
        " momentum=0.9, weight_decay=0.0);"
        "x, y = np.ones((128, 64), 'f4'), np.zeros(128, np.int64);"
        "n.train_epoch(x, y, np.arange(128), 128, [0.1]); n.evaluate(x, y);"
        "print(f'{perf_counter() - torch_in:.2f} s (besides {torch_in - start:.2f} s for torch)')"
    )
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"NUMBA_CACHE_DIR": folder}
        for name in ("compiling", "compiled before"):
            command = [sys.executable, "-c", program]
            seconds = subprocess.run(
                command, env=environment, check=True, capture_output=True, text=True
            ).stdout.strip()
            print(f"import, first step and evaluation, {name}: {seconds}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--fashion-mnist", type=Path, metavar="FOLDER")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--steps", type=int, default=100, help="steps of each repeat")
    args = parser.parse_args()
    torch.set_num_threads(2)
    start_up()
    lenet = random_data(60000, 784)
    table("LeNet-300-100, random masks", LENET, lenet, False, args)
    if args.fashion_mnist is not None:
        data = fashion_mnist(args.fashion_mnist)
        table("LeNet-300-100, masks of trained weights", LENET, data, True, args)
    digits = random_data(1000, 64)
    table("64-300-100-10, random masks", DIGITS, digits, False, args)


if __name__ == "__main__":
    main()

"""Measurement of the kernels' costs on this machine."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import product
from time import perf_counter

import numpy as np
import torch
from torch import Tensor, nn

from sdd_core.data.dataset import Dataset
from sdd_core.data.resident import DeviceDataset
from sdd_core.data.split import Split
from sdd_core.experiment.train import Train
from sdd_core.sparse.architecture import Architecture, Linear
from sdd_core.sparse.barrier import ALONE
from sdd_core.sparse.compilation import compiled
from sdd_core.sparse.costs import KernelCosts, LayerWork, default_costs
from sdd_core.sparse.kernels.linear import (
    dense_backward,
    dense_forward,
    sparse_backward,
    sparse_forward,
)
from sdd_core.sparse.kernels.records import Net
from sdd_core.sparse.layers.layer import KeptLayer
from sdd_core.sparse.match import match
from sdd_core.sparse.module import load
from sdd_core.sparse.network import SgdSettings, aligned
from sdd_core.sparse.plan import make_plan
from sdd_core.sparse.plan.masked import Geometry
from sdd_core.sparse.processor import tile_width
from sdd_core.sparse.products import Products
from sdd_core.sparse.simd import Lanes
from sdd_core.training.dense_trainer import DenseTrainer

EXAMPLES = 128


def fit_costs(*, repeats: int = 30) -> KernelCosts:
    """Measure the costs for the choice of kernels. This takes seconds, on one thread.

    Each cost is the minimum of several timings, to exclude other programs. One thread is enough,
    because more threads speed up all kernels alike.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        layers: dict[str, float] = {}
        for kernel, place in product(("sparse", "dense"), ("first", "inner")):
            time, kept = _layer(kernel, place == "first", repeats)
            layers[f"{kernel}_{place}"] = time / kept
        dense, sparse = (_layer(kernel, False, repeats, units=8) for kernel in ("dense", "sparse"))
        layers["dense_layer"] = max(0.0, dense[0] - sparse[0])
        weight, step = _general(repeats)
        pixel, whole, general_pixel = _convolutions(max(1, repeats // 4))
        masked = _masked(repeats)
    finally:
        torch.set_num_threads(threads)
    return KernelCosts(
        **layers, general_weight=weight, general_step=step,
        sparse_pixel=pixel, sparse_kept=whole, general_pixel=general_pixel, **masked,
    )  # fmt: skip


def _nanoseconds(step: Callable[[], object], repeats: int) -> float:
    times = []
    for _ in range(repeats + 1):  # the first one compiles
        start = perf_counter()
        step()
        times.append(perf_counter() - start)
    return 1e9 * min(times[1:])


def _layer(kernel: str, first: bool, repeats: int, units: int = 300) -> tuple[float, int]:
    """Return nanoseconds of a forward and backward pass of a layer with so many units, and its
    number of kept weights."""
    random, inputs = np.random.default_rng(0), 784 if first else units
    mask = random.random((units, inputs)) < (0.6 if kernel == "sparse" else 1.0)
    plan = make_plan(Architecture((Linear(inputs, units),)), [mask, np.ones(units, bool)], [kernel])
    layer, lanes = plan.linears[0], Lanes(tile_width())
    values = aligned(plan.vectors * lanes.width, np.float32)
    parameters = np.zeros(plan.packing.size, np.float32)
    gradients = np.zeros_like(parameters)
    net = Net(
        plan.linears, plan.convolutions, plan.activations, plan.norms, plan.index, plan.features,
        parameters, np.zeros((2, 0), np.float32),
    )  # fmt: skip
    products = Products(plan.linears, parameters, gradients, values.reshape(-1, lanes.width))
    values[:] = random.standard_normal(values.size)

    def step() -> None:
        for _ in range(0, EXAMPLES, lanes.width):
            if kernel == "sparse":
                _sparse(layer, net, gradients, values, first, lanes)
            else:
                _dense(layer, net, values, products.addresses, first, lanes)

    return _nanoseconds(step, repeats), int(mask.sum())


@compiled
def _sparse(layer, net, gradients, units, first, lanes):
    sparse_forward(layer, net, units, False, ALONE, lanes)
    sparse_backward(layer, net, gradients, units, first, ALONE, lanes)


@compiled
def _dense(layer, net, units, products, first, lanes):
    dense_forward(layer, net, units, products, False, ALONE, lanes)
    dense_backward(layer, units, products, first, ALONE, lanes)


def _general(repeats: int) -> tuple[float, float]:
    """Return the costs of a weight and of a step on the general path, from the times of a small and
    a large perceptron."""
    sizes, times = [], []
    for width in (32, 1024):
        network = nn.Sequential(nn.Linear(784, width), nn.ReLU(), nn.Linear(width, 10))
        sizes.append(794 * width)
        times.append(_nanoseconds(_general_step(network, (784,)), repeats))
    weight = (times[1] - times[0]) / (sizes[1] - sizes[0])
    # On a busy machine, differences of timings may be negative.
    return max(0.0, weight), max(0.0, times[0] - weight * sizes[0])


def _general_step(network: nn.Module, shape: tuple[int, ...]) -> Callable[[], object]:
    images, labels = torch.randn(EXAMPLES, *shape), torch.arange(EXAMPLES) % 10
    split = Split(images, labels)
    data = Dataset("random", split, split, 10)
    resident = DeviceDataset(data, torch.device("cpu"), augment=False)
    trainer = DenseTrainer(network, {}, resident, Train.model_validate({"batch_size": EXAMPLES}))
    order, rates = torch.arange(EXAMPLES), np.zeros(1)
    return lambda: trainer.steps(order, None, 0, rates)


def _convolutions(repeats: int) -> tuple[float, float, float]:
    """Return the costs of a kept weight per output pixel and per weight, and of any weight per
    pixel on the general path; from large maps with few channels and small maps with many.

    Other operations, such as normalisation, are assumed to cost the same on both paths. Their cost
    is extrapolated from the sparse kernels to no kept weights.
    """
    measured = [_convolution(side, channels, repeats) for side, channels in ((16, 48), (4, 256))]
    works, costs = zip(*((kept, time) for kept, time, _, _ in measured), strict=True)
    pixel, weight = np.linalg.solve(np.array(works), np.array(costs)).tolist()
    everything = sum(pixels for _, _, pixels, _ in measured)
    general = sum(time for _, _, _, time in measured) / everything
    return max(0.0, pixel), max(0.0, weight), max(0.0, general)


def _convolution(
    side: int, channels: int, repeats: int
) -> tuple[tuple[int, int], float, int, float]:
    """Return the number of additional kept weights (times pixels, and as such) and their cost, then
    the number of all weights times pixels and their cost on the general path, without operations
    other than convolutions."""
    shape = (3, side, side)
    network = nn.Sequential(
        nn.Conv2d(3, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels), nn.ReLU(),
        nn.Conv2d(channels, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10),
    )  # fmt: skip
    architecture = match(network, shape)
    assert architecture is not None
    names = architecture.parameters[: len(architecture.convolutions)]
    weights: list[Tensor] = [network.get_parameter(name) for name in names]
    random = torch.Generator().manual_seed(0)
    images = torch.randn(EXAMPLES, *shape, generator=random).numpy()
    labels, order = np.arange(EXAMPLES) % 10, np.arange(EXAMPLES)
    points = []
    for density in (0.1, 0.6):
        masks = {w: torch.rand(w.shape, generator=random) < density for w in weights}
        own = load(architecture, network, masks, SgdSettings(momentum=0.9, weight_decay=0.0))
        step = partial(own.train_epoch, images, labels, order, EXAMPLES, [0.0])
        kept = sum(int(mask.sum()) for mask in masks.values())
        points.append((kept, _nanoseconds(step, repeats)))
    (little, short), (much, long) = points
    rest = short - (long - short) * little / (much - little)
    general = _nanoseconds(_general_step(network, shape), repeats) - rest
    more, pixels = much - little, side * side
    everything = sum(weight.numel() for weight in weights) * pixels
    return (more * pixels, more), long - short, everything, general


def _masked(repeats: int) -> dict[str, float]:
    """Return the costs of a masked layer of any network: the defaults of this kind of processor,
    scaled by how long a linear layer takes in comparison to them."""
    inputs, results = torch.randn(2, 8 * EXAMPLES, 1, 1, 512)
    mask = np.random.default_rng(0).random((512, 512)) < 0.1
    layer = KeptLayer(mask, Geometry(512, 512), np.arange(mask.size))
    weight, of_weight = torch.zeros(2, mask.size)

    def step() -> None:
        layer.forward(inputs, weight, None, results)
        layer.backward(inputs, results, weight, of_weight, need=True)

    default = default_costs()
    work = LayerWork(mask.size, int(mask.sum()), len(inputs), 8.0, 5 * inputs.numel(),
                     convolution=False)
    factor = _nanoseconds(step, repeats) / default.masked(work)
    names = ("masked_weight", "masked_number", "masked_call")
    return {name: factor * getattr(default, name) for name in names}

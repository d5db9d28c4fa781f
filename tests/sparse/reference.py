"""The plain way to train a masked network, in torch, and random cases for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from sdd_core.sparse.architecture import Architecture, Linear
from sdd_core.sparse.network import Network, SgdSettings, State
from sdd_core.sparse.perceptron import Perceptron

SETTINGS = SgdSettings(momentum=0.9, weight_decay=1e-2)


@dataclass
class Case:
    """A network, some data, and an order to train in."""

    weights: list[NDArray]
    biases: list[NDArray | None]
    masks: list[NDArray[np.bool_]]
    images: NDArray
    labels: NDArray[np.int64]

    def architecture(self) -> Architecture:
        return Architecture(tuple(
            Linear(weight.shape[1], weight.shape[0], bias is not None)
            for weight, bias in zip(self.weights, self.biases, strict=True)
        ))  # fmt: skip

    def parameters(self) -> list[NDArray]:
        """Weights and biases, layer by layer."""
        return in_order(self.weights, self.biases)

    def all_masks(self) -> list[NDArray[np.bool_] | None]:
        """One for each parameter."""
        layers = zip(self.masks, self.biases, strict=True)
        return [m for mask, bias in layers for m in ([mask] if bias is None else [mask, None])]

    def sparse(self, state: State | None = None, **options) -> Perceptron:
        return Perceptron(
            self.architecture(), state or State(self.parameters()), self.all_masks(), SETTINGS,
            **options,
        )  # fmt: skip

    def order(self, seed: int, size: int) -> NDArray[np.int64]:
        return np.random.default_rng(seed).integers(0, len(self.images), size)


def make_case(
    sizes: Sequence[int],
    density: float | list[float],
    *,
    examples: int = 200,
    biased: bool = True,
    dtype: type = np.float64,
    seed: int = 0,
) -> Case:
    random = np.random.default_rng(seed)
    shapes = [(outputs, inputs) for inputs, outputs in pairwise(sizes)]
    densities = density if isinstance(density, list) else [density] * len(shapes)
    masks = [random.random(shape) < d for shape, d in zip(shapes, densities, strict=True)]
    weights = [
        np.where(mask, random.standard_normal(mask.shape) / np.sqrt(max(mask.sum(1).max(), 1)), 0)
        for mask in masks
    ]
    return Case(
        [weight.astype(dtype) for weight in weights],
        [random.standard_normal(o).astype(dtype) * 0.1 if biased else None for o, _ in shapes],
        masks,
        random.standard_normal((examples, sizes[0])).astype(dtype),
        random.integers(0, sizes[-1], examples),
    )


class Reference:
    """Dense layers whose weights and gradients are multiplied by masks, under torch's SGD."""

    def __init__(self, case: Case) -> None:
        self.case = case
        layers: list[nn.Module] = [nn.Flatten()]
        for weight, bias in zip(case.weights, case.biases, strict=True):
            linear = nn.Linear(
                weight.shape[1],
                weight.shape[0],
                bias=bias is not None,
                dtype=torch.from_numpy(weight).dtype,
            )
            linear.weight.data = torch.from_numpy(weight.copy())
            if bias is not None:
                linear.bias.data = torch.from_numpy(bias.copy())
            layers += [linear, nn.ReLU()]
        self.model = nn.Sequential(*layers[:-1])
        self.linears = [layer for layer in self.model if isinstance(layer, nn.Linear)]
        self.masks = [torch.from_numpy(mask) for mask in case.masks]
        self.optimizer = torch.optim.SGD(
            self.model.parameters(), lr=1.0, **SETTINGS._asdict()
        )

    def train(self, order: NDArray, batch_size: int, learning_rates: Sequence[float]) -> float:
        images, labels = torch.from_numpy(self.case.images), torch.from_numpy(self.case.labels)
        total = 0.0
        for batch, rate in zip(
            torch.from_numpy(order).split(batch_size), learning_rates, strict=True
        ):
            self.optimizer.param_groups[0]["lr"] = rate
            loss = nn.functional.cross_entropy(self.model(images[batch]), labels[batch])
            self.optimizer.zero_grad()
            loss.backward()
            for linear, mask in zip(self.linears, self.masks, strict=True):
                assert linear.weight.grad is not None
                linear.weight.grad.mul_(mask)
            self.optimizer.step()
            total += loss.item() * len(batch)
        return total / len(order)

    def parameters(self) -> list[NDArray]:
        return [parameter.detach().numpy() for parameter in self.model.parameters()]

    def momenta(self) -> list[NDArray]:
        state = self.optimizer.state
        return [state[p]["momentum_buffer"].numpy() for p in self.model.parameters()]


def in_order(weights: Sequence[NDArray], biases: Sequence[NDArray | None]) -> list[NDArray]:
    """Layer by layer, without biases that are not there."""
    layers = zip(weights, biases, strict=True)
    return [array for layer in layers for array in layer if array is not None]


def assert_same(network: Network, reference: Reference, *, rtol: float, atol: float) -> None:
    """Parameters and momenta agree; pruned weights are +0."""
    state = network.state()
    assert state.momenta is not None
    pairs = ((state.parameters, reference.parameters()), (state.momenta, reference.momenta()))
    for ours, theirs in pairs:
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(one, other, rtol=rtol, atol=atol)
    for parameter, mask in zip(state.parameters, reference.case.all_masks(), strict=True):
        if mask is not None:
            assert not parameter[~mask].any()
            assert not np.signbit(parameter[~mask]).any()


def bits(network: Network) -> bytes:
    """Those of parameters and momenta."""
    state = network.state()
    return b"".join(array.tobytes() for array in [*state.parameters, *(state.momenta or [])])

"""Networks with zeros, and comparisons of what `compact` makes of them."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor, nn

import sdd_core

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


def size(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@torch.no_grad()
def randomise(network: nn.Module, seed: int = 0) -> nn.Module:
    """Draw all biases and normalisations, so that no constant is 0 by chance."""
    draw = torch.Generator().manual_seed(seed)
    for layer in network.modules():
        if isinstance(layer, NORMS):
            layer.running_mean.normal_(generator=draw)
            layer.running_var.uniform_(0.5, 2, generator=draw)
            layer.weight.uniform_(0.5, 1.5, generator=draw)
    for name, parameter in network.named_parameters():
        if name.endswith("bias"):
            parameter.normal_(std=0.5, generator=draw)
        elif parameter.dim() > 1 and not parameter.any():
            parameter.normal_(generator=draw)  # such as the head of torchvision's ViT
    return network


@torch.no_grad()
def prune(network: nn.Module, sparsity: float, *, rows: bool, seed: int = 1) -> nn.Module:
    """Set single weights, or whole rows, of all layers but the last one to 0, and scale the rest so
    that differences of the input still reach the output."""
    draw = torch.Generator().manual_seed(seed)
    weights = [parameter for parameter in network.parameters() if parameter.dim() > 1]
    for weight in weights[:-1]:
        shape = (len(weight),) + (1,) * (weight.dim() - 1) if rows else weight.shape
        keep = torch.rand(shape, generator=draw) >= sparsity
        keep.view(-1)[0] = True
        weight.mul_(keep / max(1 - sparsity, 1 / len(weight)) ** 0.5)
    return network


def compacted(network: nn.Module, shape: tuple[int, ...]) -> nn.Module:
    """Return the smaller network in float64, after a comparison of its outputs for batches of
    several sizes, and of the original before and after."""
    network = deepcopy(network).double().eval()
    before = deepcopy(network.state_dict())
    small = sdd_core.compact(network, inputs(2, shape))
    assert all(torch.equal(before[name], now) for name, now in network.state_dict().items())
    assert not small.training
    assert size(small) <= size(network)
    for batch in (1, 3):
        same_outputs(small, network, inputs(batch, shape))
    return small


@torch.no_grad()
def same_outputs(small: nn.Module, network: nn.Module, images: Tensor) -> None:
    expected = network(images.clone())
    scale = float(expected.abs().max())
    torch.testing.assert_close(small(images), expected, rtol=0, atol=1e-10 * max(scale, 1))


def inputs(count: int, shape: tuple[int, ...]) -> Tensor:
    draw = torch.Generator().manual_seed(count)
    return torch.randn(count, *shape, dtype=torch.float64, generator=draw)


@torch.no_grad()
def spread(network: nn.Module, shape: tuple[int, ...]) -> float:
    """How much the outputs depend on the input, relative to them."""
    outputs = deepcopy(network).double().eval()(inputs(3, shape))
    return float(outputs.std(0).max() / outputs.abs().max())

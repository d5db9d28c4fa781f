"""`compact` on random networks: layers in any order, sums, concatenations, gates, any zeros."""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.exports.compacting import compacted, randomise, size

SHAPE = (3, 6, 6)
ACTIVATIONS = {
    "relu": lambda x: torch.relu_(x.clone()),
    "tanh": torch.tanh,
    "shift": lambda x: 0.5 * x - 1,
    "silu": nn.functional.silu,
}
CHANNELS = (2, 4, 6)


class RandomNetwork(nn.Module):
    """A list of operations, each on the results of earlier ones; then flattening and two layers."""

    def __init__(self, operations: list[tuple[Any, ...]], hidden: int, flat: bool) -> None:
        super().__init__()
        self.layers, self.operations, self.flat = nn.ModuleList(), [], flat
        channels = [SHAPE[0]]
        for name, at, option in operations:
            source = at % len(channels)
            mine = channels[source]
            same = [n for n, count in enumerate(channels) if count == mine]
            other = same[option % len(same)]
            if name == "conv":
                kernel, outputs = (1, 3)[option % 2], CHANNELS[option // 2 % 3]
                mode = ("zeros", "zeros", "circular")[option % 3]
                layer = nn.Conv2d(mine, outputs, kernel, padding=kernel // 2, bias=option % 5 > 0,
                                  padding_mode=mode)  # fmt: skip
            elif name == "groups":
                groups = mine if option % 2 or mine % 2 else 2
                layer = nn.Conv2d(mine, 2 * mine, 3, padding=1, groups=groups)
                outputs = 2 * mine
            elif name == "norm":
                layer, outputs = nn.BatchNorm2d(mine), mine
            elif name == "pool":
                layer = (nn.MaxPool2d, nn.AvgPool2d)[option % 2](3, 1, 1)
                outputs = mine
            else:
                layer, outputs = None, mine + channels[other] if name == "cat" else mine
            if layer is not None:
                self.layers.append(layer)
                other = len(self.layers) - 1
            self.operations.append((name, source, other))
            channels.append(outputs)
        features = channels[-1] * (SHAPE[1] * SHAPE[2] if flat else 1)
        self.hidden, self.output = nn.Linear(features, hidden), nn.Linear(hidden, 3)

    def forward(self, images: Tensor) -> Tensor:
        results = [images]
        for name, source, other in self.operations:
            x = results[source]
            if name == "add":
                x = x + results[other]
            elif name == "cat":
                x = torch.cat([x, results[other]], 1)
            elif name == "gate":
                x = results[other].mean((2, 3), keepdim=True).sigmoid() * x
            elif name in ACTIVATIONS:
                x = ACTIVATIONS[name](x)
            else:
                x = self.layers[other](x)
            results.append(x)
        x = results[-1].flatten(1) if self.flat else results[-1].mean((2, 3))
        return self.output(self.hidden(x).relu())


NAMES = ("conv", "conv", "conv", "groups", "norm", "pool", "add", "add", "cat", "gate",
         *ACTIVATIONS)  # fmt: skip


@st.composite
def networks(draw):
    # Mostly the last result, so that networks are deep, and anything before it at times.
    at = st.one_of(st.just(-1), st.just(-1), st.integers(-4, 3))
    operation = st.tuples(st.sampled_from(NAMES), at, st.integers(0, 29))
    operations = draw(st.lists(operation, min_size=1, max_size=9))
    torch.manual_seed(draw(st.integers(0, 99)))
    network = RandomNetwork(operations, draw(st.integers(1, 6)), draw(st.booleans()))
    randomise(network)
    with torch.no_grad():
        for parameter in network.parameters():
            _zeros(parameter, draw(st.sampled_from(["none", "rows", "columns", "some", "all"])))
    return network


def _zeros(parameter: Tensor, where: str) -> None:
    if where == "all":
        parameter.zero_()
    elif where == "rows":
        parameter[torch.rand(len(parameter)) < 0.5] = 0
    elif where == "columns" and parameter.dim() > 1:
        parameter[:, torch.rand(parameter.shape[1]) < 0.5] = 0
    elif where == "some":
        parameter[torch.rand(parameter.shape) < 0.7] = 0


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(networks())
def test_equal_outputs_never_more_parameters_and_nothing_left(network):
    small = compacted(network, SHAPE)  # compares outputs and sizes
    assert size(compacted(small, SHAPE)) == size(small)

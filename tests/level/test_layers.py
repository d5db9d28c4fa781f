"""Which weights a network has, which of them are known, and where their outputs and inputs are."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import parametrizations, parametrize

from sdd_core import SddError
from sdd_core.level.layers import Layout, weights_of
from sdd_core.level.masks import layouts_of, prunable_weights
from sdd_core.level.naming import layer_of

OLD_NORMS = pytest.mark.filterwarnings("ignore:.*deprecated.*:FutureWarning")


class Doubled(nn.Module):
    def forward(self, weight):
        return 2 * weight


class Split(nn.Module):
    """A weight that is trained as two factors."""

    def forward(self, left, right):
        return left @ right

    def right_inverse(self, weight):
        return weight[:, :1], weight[:1]


def parametrised():
    linear = nn.Linear(4, 3)
    parametrize.register_parametrization(linear, "weight", Doubled())
    return linear


def factored():
    linear = nn.Linear(4, 3)
    parametrize.register_parametrization(linear, "weight", Split(), unsafe=True)
    return linear


@OLD_NORMS
@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: nn.LSTM(4, 3, 2),
         ["weight_ih_l0", "weight_hh_l0", "weight_ih_l1", "weight_hh_l1"]),
        (lambda: nn.LSTM(4, 3, proj_size=2), ["weight_ih_l0", "weight_hh_l0", "weight_hr_l0"]),
        (lambda: nn.GRU(4, 3, bidirectional=True),
         ["weight_ih_l0", "weight_hh_l0", "weight_ih_l0_reverse", "weight_hh_l0_reverse"]),
        (lambda: nn.RNN(4, 3), ["weight_ih_l0", "weight_hh_l0"]),
        (lambda: nn.LSTMCell(4, 3), ["weight_ih", "weight_hh"]),
        (lambda: nn.GRUCell(4, 3), ["weight_ih", "weight_hh"]),
        (lambda: nn.RNNCell(4, 3), ["weight_ih", "weight_hh"]),
        (lambda: nn.Bilinear(4, 3, 2), ["weight"]),
        (parametrised, ["parametrizations.weight.original"]),
        (factored, ["parametrizations.weight.original0", "parametrizations.weight.original1"]),
        (lambda: parametrizations.weight_norm(nn.Conv2d(4, 3, 2)),
         ["parametrizations.weight.original1"]),
        (lambda: parametrizations.weight_norm(nn.Linear(1, 3)),
         ["parametrizations.weight.original1"]),
        (lambda: parametrizations.spectral_norm(nn.Linear(4, 3)),
         ["parametrizations.weight.original"]),
        (lambda: parametrizations.orthogonal(nn.Linear(4, 4)),
         ["parametrizations.weight.original"]),
        (lambda: nn.utils.weight_norm(nn.Linear(4, 3)), ["weight_v"]),
        (lambda: nn.utils.weight_norm(nn.LSTM(4, 3), "weight_hh_l0"),
         ["weight_hh_l0_v", "weight_ih_l0"]),
        (lambda: nn.utils.spectral_norm(nn.Conv1d(4, 3, 2)), ["weight_orig"]),
    ],
)  # fmt: skip
def test_the_trained_weights_of_a_layer_are_known(make, expected):
    network = nn.ModuleDict({"layer": make()})
    weights = prunable_weights(network)
    assert sorted(weights) == sorted(f"layer.{name}" for name in expected)
    trained = dict(network.named_parameters())
    assert all(weights[name] is trained[name] for name in weights)
    assert {layer_of(name) for name in weights} == {"layer"}
    assert sorted(prunable_weights(network["layer"])) == sorted(expected)


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("fc.weight", "fc"),
        ("weight", ""),
        ("a.b.parametrizations.weight.original1", "a.b"),
        ("parametrizations.weight.original", ""),
        ("a.parametrizations.weight.0._u", "a"),
    ],
)
def test_the_layer_of_a_parameter(name, layer):
    assert layer_of(name) == layer


class GPT(nn.Module):
    """An own layer class, tied embeddings, and what is frozen or no weight."""

    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(7, 4)
        self.own = nn.Module()
        self.own.weight = nn.Parameter(torch.randn(4, 4))
        self.own.bias = nn.Parameter(torch.randn(4))
        self.steps = nn.Parameter(torch.zeros(2, 2, dtype=torch.int64), requires_grad=False)
        self.frozen = nn.Linear(4, 4).requires_grad_(False)
        self.normed = parametrizations.weight_norm(nn.Linear(4, 4))
        self.head = nn.Linear(4, 7, bias=False)
        self.head.weight = self.words.weight


def names(network, *patterns):
    return list(prunable_weights(network, patterns))


def test_include_reaches_own_layers_and_embeddings_by_any_of_their_names():
    network = GPT()
    normed = "normed.parametrizations.weight.original1"
    assert names(network) == [normed]
    assert names(network, "own") == ["own.weight", normed]
    assert names(network, "own.weight", "nor*") == ["own.weight", normed]
    # The tied weight comes where its known layer is, under its first name.
    for pattern in ("words", "head", "head.weight", "wor*"):
        assert names(network, pattern) == [normed, "words.weight"]
    assert names(network, "*") == ["own.weight", normed, "words.weight"]
    assert len(weights_of(network)) == 4  # the frozen one too


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("nobody", "'nobody' matches no parameter; `sdd inspect`"),
        ("own.bias", r"'own.bias' matches nothing that can be pruned: own.bias has 1 dimension;"),
        ("*bias", r"own.bias \(and 2 more\) has 1 dimension"),
        ("steps", r"steps is torch.int64; expected floating-point parameters with two dimensions"),
        ("frozen", r"frozen.weight \(and 1 more\) is frozen"),
        ("*.original0", r"original0 is the scale of a weight norm"),
    ],
)
def test_include_patterns_that_reach_no_weight_are_refused_in_one_line(pattern, message):
    with pytest.raises(SddError, match=rf"^pruner\.include: .*{message}") as caught:
        names(GPT(), "own", pattern)
    assert "\n" not in str(caught.value)


@given(
    transposed=st.booleans(),
    groups=st.integers(1, 3),
    sizes=st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 3)),
    side=st.sampled_from(["output", "input"]),
)
def test_lines_are_taken_apart_and_put_together(transposed, groups, sizes, side):
    shape = (groups * sizes[0], sizes[1], sizes[2], 2)
    tensor = torch.arange(float(torch.Size(shape).numel())).view(shape)
    layout = Layout(transposed, groups)
    lines = layout.lines(tensor, side)
    assert torch.equal(layout.from_lines(lines, side, shape), tensor)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Linear(6, 4), nn.Conv2d(6, 4, 3), nn.Conv2d(6, 4, 3, groups=2),
        nn.Conv1d(4, 8, 2, groups=4),
        nn.ConvTranspose2d(6, 4, 3), nn.ConvTranspose2d(6, 4, 3, groups=2),
        nn.ConvTranspose1d(4, 8, 3, groups=4), nn.Conv3d(2, 4, 1, groups=2),
    ],
    ids=str,
)  # fmt: skip
def test_a_line_is_what_an_output_or_an_input_is_made_with(layer):
    """Without an output's weights that output is constant; without an input's, nothing depends on
    that input."""
    outputs = getattr(layer, "out_features", None) or layer.out_channels
    inputs = getattr(layer, "in_features", None) or layer.in_channels
    image = torch.randn(1, inputs, *[5] * (layer.weight.dim() - 2))
    layout = layouts_of(nn.Sequential(layer))["0.weight"]
    whole = layer.weight.detach().clone()
    for side, count in (("output", outputs), ("input", inputs)):
        assert len(layout.lines(whole, side)) == count
        for line in range(count):
            lines = layout.lines(whole, side).clone()
            lines[line] = 0
            with torch.no_grad():
                layer.weight.copy_(layout.from_lines(lines, side, tuple(whole.shape)))
                if side == "output":
                    found = layer(image)[0] - layer(torch.zeros_like(image))[0]
                    dead = (found.reshape(outputs, -1) == 0).all(1)
                    assert dead.tolist() == [one == line for one in range(count)]
                else:
                    other = image.clone()
                    other[0, line] += 1
                    assert torch.equal(layer(other), layer(image))

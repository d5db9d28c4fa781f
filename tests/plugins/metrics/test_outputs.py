"""Metrics of what the network says, by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn.functional import conv2d

from sdd_plugins.metrics.activation_entropy import ActivationEntropy
from sdd_plugins.metrics.calibration import Calibration

from ..conftest import dataset


def says(probabilities: list[list[float]], labels: list[int], make_view, **options):
    """A level whose network says these probabilities."""
    logits = torch.tensor(probabilities, dtype=torch.float64).log().float()
    network = nn.Sequential(nn.Linear(2, 2, bias=False))
    with torch.no_grad():
        network[0].weight.copy_(torch.eye(2))
    return make_view(network, dataset(logits, [0] * len(labels), labels), **options)


def test_calibration_error_by_hand(make_view):
    """Two bins of five: (0.4, 0.6] and (0.8, 1]."""
    view = says(
        [[0.55, 0.45], [0.45, 0.55], [0.9, 0.1], [0.1, 0.9], [0.95, 0.05], [0.15, 0.85]],
        [0, 0, 0, 1, 1, 0],
        make_view,
    )
    # First bin: accuracy 1/2, confidence 0.55. Last: accuracy 2/4, confidence 0.9.
    expected = (2 * abs(0.5 - 0.55) + 4 * abs(0.5 - 0.9)) / 6
    assert Calibration(bins=5).measure(view)["calibration_error"] == pytest.approx(expected)
    # In one bin the two errors are of one kind and add up; in many each example is alone or with
    # its like.
    one = abs((1 + 2) / 6 - (2 * 0.55 + 4 * 0.9) / 6)
    assert Calibration(bins=1).measure(view)["calibration_error"] == pytest.approx(one)


def test_too_much_and_too_little_confidence_do_not_cancel_but_within_a_bin(make_view):
    view = says([[0.6, 0.4], [0.9, 0.1]], [0, 1], make_view)
    assert Calibration(bins=15).measure(view)["calibration_error"] == pytest.approx((0.4 + 0.9) / 2)
    assert Calibration(bins=1).measure(view)["calibration_error"] == pytest.approx(0.25)


def test_a_sure_and_right_network_is_calibrated(make_view):
    view = says([[1 - 1e-30, 1e-30], [1e-30, 1.0]], [0, 1], make_view)
    assert Calibration().measure(view) == {"calibration_error": pytest.approx(0.0, abs=1e-6)}


def test_calibration_of_a_level_that_diverged(make_view):
    view = says([[0.6, 0.4]], [0], make_view, diverged=True)
    assert Calibration().measure(view) == {"calibration_error": None}


def bits(share: float) -> float:
    return sum(-p * math.log2(p) for p in (share, 1 - share) if p)


def test_activation_entropy_by_hand(make_view):
    """Of three units one is on for one of four examples, one always, one never (0 is off)."""
    network = nn.Sequential(nn.Linear(1, 3), nn.ReLU(), nn.Linear(3, 2), nn.GELU(), nn.Linear(2, 2))
    with torch.no_grad():
        network[0].weight.copy_(torch.tensor([[1.0], [0.0], [0.0]]))
        network[0].bias.copy_(torch.tensor([-3.5, 1.0, 0.0]))
        network[2].weight.copy_(torch.tensor([[2.0, 0.0, 0.0], [0.0, 1.0, 0.0]]))
        network[2].bias.copy_(torch.tensor([-0.5, 0.0]))
    data = dataset(torch.tensor([[1.0], [2.0], [3.0], [4.0]]), [0, 1, 0, 1])
    found = ActivationEntropy(batches=2, batch_size=2).measure(make_view(network, data))
    quarter = bits(0.25)
    assert quarter == pytest.approx(0.8113, abs=1e-4)
    assert found["activation_entropy_by_layer"] == {
        "1": pytest.approx(quarter / 3),
        "3": pytest.approx(quarter / 2),
    }
    assert found["activation_entropy"] == pytest.approx(2 * quarter / 5)


def test_a_channels_places_are_examples(make_view):
    torch.manual_seed(0)
    images = torch.randn(6, 1, 5, 5)
    network = nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(27, 2)
    )
    found = ActivationEntropy().measure(make_view(network, dataset(images, [0, 1] * 3)))
    before = conv2d(images, network[0].weight, network[0].bias)
    shares = (before > 0).double().mean((0, 2, 3)).tolist()
    assert found["activation_entropy"] == pytest.approx(sum(map(bits, shares)) / 3)


class Twice(nn.Module):
    """Uses one activation at two places."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.relu = nn.Linear(1, 1), nn.Linear(1, 2), nn.ReLU()
        with torch.no_grad():
            self.first.weight.fill_(1.0)
            self.first.bias.fill_(-1.5)
            self.second.weight.fill_(1.0)
            self.second.bias.copy_(torch.tensor([1.0, -1.0]))

    def forward(self, inputs):
        return self.relu(self.second(self.relu(self.first(inputs))))


def test_an_activation_at_two_places_is_two_layers(make_view):
    data = dataset(torch.tensor([[1.0], [2.0], [3.0], [4.0]]), [0, 1, 0, 1])
    found = ActivationEntropy(batch_size=3).measure(make_view(Twice(), data))
    assert found["activation_entropy_by_layer"] == {
        "relu": pytest.approx(bits(0.75)),
        "relu#2": pytest.approx(bits(0.5) / 2),
    }


def test_without_activations_and_diverged_there_is_none(make_view):
    names = {"activation_entropy": None, "activation_entropy_by_layer": None}
    plain = nn.Sequential(nn.Linear(2, 2))
    assert ActivationEntropy().measure(make_view(plain)) == names
    network = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    assert ActivationEntropy().measure(make_view(network, diverged=True)) == names

"""|w dL/dw| against the gradient of softmax regression, worked out with numpy."""

import numpy as np
import pytest
import torch
from torch import nn

from sdd_plugins.pruners.gradient import Gradient

from ..conftest import dataset

DRAW = np.random.default_rng(5)
IMAGES = DRAW.normal(size=(6, 3)).astype(np.float32)
LABELS = [0, 2, 1, 1, 0, 2]


def network() -> nn.Module:
    torch.manual_seed(2)
    return nn.Sequential(nn.Linear(3, 3))


def by_formula(linear: nn.Linear, chosen: list[int]) -> np.ndarray:
    """Of cross-entropy of a linear layer: (softmax(Wx + b) - onehot) x^T, the mean over images."""
    weight, bias = (p.detach().numpy().astype(np.float64) for p in (linear.weight, linear.bias))
    x = IMAGES[chosen].astype(np.float64)
    odds = np.exp(x @ weight.T + bias)
    error = odds / odds.sum(1, keepdims=True) - np.eye(3)[np.array(LABELS)[chosen]]
    return np.abs(weight * (error.T @ x) / len(chosen))


@pytest.mark.parametrize(("batches", "size"), [(1, 128), (3, 2), (2, 4)])
def test_over_all_examples_it_is_the_gradient_of_the_mean_loss(make_view, batches, size):
    data = dataset(torch.from_numpy(IMAGES), LABELS, classes=3)
    view = make_view(network(), data)
    scores = Gradient(batches=batches, batch_size=size).scores(view)
    np.testing.assert_allclose(
        scores["0.weight"], by_formula(network()[0], list(range(6))), rtol=1e-5
    )


def test_one_small_batch_is_some_of_the_examples_and_always_the_same(make_view):
    data = dataset(torch.from_numpy(IMAGES), LABELS, classes=3)
    pruner = Gradient(batches=1, batch_size=1)
    score = pruner.scores(make_view(network(), data))["0.weight"]
    again = pruner.scores(make_view(network(), data))["0.weight"]
    assert torch.equal(score, again)
    single = [by_formula(network()[0], [example]) for example in range(6)]
    assert sum(np.allclose(score, one, rtol=1e-5) for one in single) == 1


def test_wrong_labels_are_the_ones_that_count(make_view):
    true = [0] * 6
    data = dataset(torch.from_numpy(IMAGES), LABELS, true, classes=3)
    score = Gradient().scores(make_view(network(), data))["0.weight"]
    np.testing.assert_allclose(score, by_formula(network()[0], list(range(6))), rtol=1e-5)


def test_dead_and_exempt_layers(make_view):
    model = nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 3))
    with torch.no_grad():
        model[0].bias.fill_(-100.0)  # no unit is ever active, so that no gradient arrives
    data = dataset(torch.from_numpy(IMAGES), LABELS, classes=3)
    scores = Gradient().scores(make_view(model, data, exempt=("2.weight",)))
    assert list(scores) == ["0.weight"]
    assert not scores["0.weight"].any()

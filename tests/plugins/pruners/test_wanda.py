"""|w| times the norm of the inputs, by hand and by unfolded images."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.functional import unfold

from sdd_core import SddError
from sdd_plugins.pruners.wanda import Wanda

from ..conftest import dataset


def test_by_hand(make_view):
    network = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2))
    with torch.no_grad():
        network[0].weight.copy_(torch.tensor([[1.0, -2.0], [0.5, 0.0]]))
        network[0].bias.copy_(torch.tensor([0.0, -3.0]))
        network[2].weight.copy_(torch.tensor([[2.0, 7.0], [-1.0, 1.0]]))
    images = torch.tensor([[3.0, 1.0], [4.0, 0.0]])
    # Columns (3, 4) and (1, 0) have norms 5 and 1; the hidden units say (1, 0) and (4, 0).
    scores = Wanda().scores(make_view(network, dataset(images, [0, 1])))
    torch.testing.assert_close(scores["0.weight"], torch.tensor([[5.0, 2.0], [2.5, 0.0]]))
    root = 17**0.5
    torch.testing.assert_close(scores["2.weight"], torch.tensor([[2 * root, 0.0], [root, 0.0]]))


@pytest.mark.parametrize("batches", [(1, 128), (3, 2)])
@pytest.mark.parametrize("options", [{}, {"stride": 2, "padding": 1}, {"dilation": 2}])
def test_a_convolution_by_unfolding_the_images(make_view, options, batches):
    torch.manual_seed(0)
    images = torch.randn(6, 3, 7, 8)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, **options), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    )
    view = make_view(network, dataset(images, [0, 1] * 3))
    scores = Wanda(batches=batches[0], batch_size=batches[1]).scores(view)
    norms = unfold(images, 3, **options).square().sum((0, 2)).sqrt()  # [channels * 9]
    expected = network[0].weight.abs() * norms.view(3, 3, 3)
    torch.testing.assert_close(scores["0.weight"], expected.detach())


def test_a_weight_that_two_layers_share_meets_the_inputs_of_both(make_view):
    network = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    network[1].weight = network[0].weight
    with torch.no_grad():
        network[0].weight.copy_(torch.tensor([[0.0, 1.0], [2.0, 0.0]]))
    scores = Wanda().scores(make_view(network, dataset(torch.tensor([[3.0, 4.0]]), [0])))
    # First (3, 4), then (4, 6).
    expected = torch.tensor([[0.0, (16 + 36) ** 0.5], [2 * (9 + 16) ** 0.5, 0.0]])
    torch.testing.assert_close(scores["0.weight"], expected)


def test_the_trained_network_is_looked_at_as_it_is_used(make_view):
    """Without dropout, and with the statistics of batch normalisation that were learnt."""
    network = nn.Sequential(nn.Dropout(0.9), nn.BatchNorm1d(2), nn.Linear(2, 2))
    network[1].running_mean.fill_(1.0)
    network[1].running_var.fill_(4.0 - network[1].eps)
    images = torch.tensor([[3.0, 1.0], [5.0, 1.0]])  # (1, 0) and (2, 0) behind the normalisation
    scores = Wanda().scores(make_view(network, dataset(images, [0, 1])))
    weight = network[2].weight.detach().abs()
    torch.testing.assert_close(scores["2.weight"], weight * torch.tensor([5**0.5, 0.0]))


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.MultiheadAttention(4, 2)
        self.last = nn.Linear(4, 2)

    def forward(self, inputs):
        return self.last(self.inner(inputs, inputs, inputs)[0])


def test_what_it_cannot_see_is_refused(make_view):
    view = make_view(Attention(), dataset(torch.randn(3, 4), [0, 1, 0]))
    with pytest.raises(SddError, match=r"cannot see what 'inner.*pruner\.exempt"):
        Wanda().scores(view)

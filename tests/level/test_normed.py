"""Weight and spectral norms whose weights have been pruned."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from sdd_core.level.masks import prunable_weights
from sdd_core.level.normed import keep_zeros

pytestmark = pytest.mark.filterwarnings("ignore:.*deprecated.*:FutureWarning")
NORMS = [
    parametrizations.weight_norm, nn.utils.weight_norm,
    parametrizations.spectral_norm, nn.utils.spectral_norm,
]  # fmt: skip
NAMES = ["weight norm", "old weight norm", "spectral norm", "old spectral norm"]
ROWS = NORMS[:2]


def made(norm, layer=None, **options):
    torch.manual_seed(0)
    return norm(layer or nn.Linear(4, 3), **options)


def trained(layer):
    return next(iter(prunable_weights(layer).values()))


@pytest.mark.parametrize("norm", NORMS, ids=NAMES)
def test_nothing_changes_while_no_row_is_empty(norm):
    ours, torchs = keep_zeros(nn.Sequential(made(norm))), nn.Sequential(made(norm))
    batch = torch.randn(5, 4)
    for network in (ours, torchs):
        with torch.no_grad():
            trained(network)[0, 1:] = 0
        network(batch).square().sum().backward()
    assert torch.equal(ours(batch), torchs(batch))
    assert ours.state_dict().keys() == torchs.state_dict().keys()
    for one, other in zip(ours.parameters(), torchs.parameters(), strict=True):
        assert torch.equal(one.grad, other.grad)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("norm", NORMS, ids=NAMES)
def test_a_layer_without_weights_is_its_bias(norm, training):
    network = keep_zeros(nn.Sequential(made(norm))).train(training)
    with torch.no_grad():
        trained(network).zero_()
    output = network(torch.randn(5, 4))
    assert torch.equal(output, network[0].bias.expand(5, 3))
    output.sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())


@pytest.mark.parametrize("layer", [lambda: nn.Linear(4, 3), lambda: nn.Conv2d(4, 3, 2)],
                         ids=["linear", "convolution"])
@pytest.mark.parametrize("norm", ROWS, ids=NAMES[:2])
def test_an_empty_row_is_zero_and_the_others_are_torchs(norm, layer):
    network = keep_zeros(nn.Sequential(made(norm, layer())))
    batch = torch.randn(5, 4, 3, 3) if trained(network).dim() == 4 else torch.randn(5, 4)
    before = network(batch)
    with torch.no_grad():
        trained(network)[1] = 0
    after = network(batch)
    bias = network[0].bias[1].detach()
    assert torch.equal(after[:, 1], bias.expand_as(after[:, 1]))
    torch.testing.assert_close(after[:, [0, 2]], before[:, [0, 2]])
    after.square().sum().backward()
    assert all(p.grad.isfinite().all() for p in network.parameters())
    assert trained(network).grad[0].any()


@pytest.mark.parametrize(("dim", "zeros"), [(1, (slice(None), 2)), (None, (slice(None),))])
@pytest.mark.parametrize("norm", ROWS, ids=NAMES[:2])
def test_norms_of_columns_and_of_the_whole(norm, dim, zeros):
    network = keep_zeros(nn.Sequential(made(norm, dim=dim)))
    with torch.no_grad():
        trained(network)[zeros] = 0
    assert network(torch.randn(5, 4)).isfinite().all()

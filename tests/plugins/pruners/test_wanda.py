"""|w| times the norm of the inputs, by hand and by unfolded images."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from support import go, small
from torch import nn
from torch.nn.functional import unfold
from torch.nn.utils import parametrizations

from sdd_core import SddError
from sdd_core.level.masks import prunable_weights
from sdd_core.runs.level_files import read_level
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


def test_a_bilinear_weight_meets_the_product_of_two_inputs(make_view):
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.bilinear = nn.Bilinear(2, 2, 2)

        def forward(self, inputs):
            return self.bilinear(input1=inputs, input2=inputs + 1)

    images = torch.tensor([[1.0, 2.0], [3.0, 0.0]])
    network = Twice()
    found = Wanda().scores(make_view(network, dataset(images, [0, 1])))["bilinear.weight"]
    products = images[:, :, None] * (images + 1)[:, None, :]
    expected = network.bilinear.weight.detach().abs() * products.square().sum(0).sqrt()
    torch.testing.assert_close(found, expected)


@pytest.mark.filterwarnings("ignore:.*deprecated.*:FutureWarning")
@pytest.mark.parametrize(
    "norm",
    [parametrizations.weight_norm, parametrizations.spectral_norm, nn.utils.weight_norm,
     nn.utils.spectral_norm],
    ids=["weight", "spectral", "old weight", "old spectral"],
)  # fmt: skip
@pytest.mark.parametrize("make", [lambda: nn.Linear(4, 3), lambda: nn.Conv2d(4, 3, 1)])
def test_a_normed_layer_is_scored_by_the_weight_that_it_computes(make_view, norm, make):
    torch.manual_seed(0)
    layer = make()
    shape = (6, 4) if layer.weight.dim() == 2 else (6, 4, 1, 1)
    images = torch.randn(shape)
    data = dataset(images, [0, 1] * 3)
    network = nn.Sequential(norm(layer), nn.Flatten()).eval()
    network(images)  # the older norms compute their weight here
    plain = make()
    with torch.no_grad():
        plain.weight.copy_(layer.weight)
    view = SimpleNamespace(
        network=lambda: network, device="cpu",
        prunable=list(prunable_weights(network)),
        batches=lambda *_: [(images, data.train.labels)],
    )  # fmt: skip
    (found,) = Wanda().scores(view).values()
    expected = Wanda().scores(make_view(nn.Sequential(plain, nn.Flatten()), data))["0.weight"]
    torch.testing.assert_close(found, expected)


class Tied(nn.Module):
    """An embedding that is the last layer too, a recurrent layer and one of an own class."""

    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(2, 3)
        self.memory = nn.GRU(3, 3, batch_first=True)
        self.first = nn.Linear(3, 3)
        self.head = nn.Linear(3, 2, bias=False)
        self.head.weight = self.words.weight

    def forward(self, tokens):
        return self.head(self.first(self.memory(self.words(tokens.long()))[0][:, -1]))


@pytest.mark.parametrize(
    ("prunable", "refused"),
    [
        (["first.weight"], None),
        (["words.weight", "first.weight"], "'words.weight', which is"),
        (["memory.weight_ih_l0", "memory.weight_hh_l0"], r"'memory.weight_ih_l0' \(and 1 more\)"),
    ],
)
def test_only_what_is_all_a_weight_meets_makes_a_score(make_view, prunable, refused):
    masks = {name: torch.ones_like(p, dtype=torch.bool)
             for name, p in Tied().named_parameters() if p.dim() == 2}
    exempt = tuple(name for name in masks if name not in prunable)
    data = dataset(torch.tensor([[0, 1], [1, 1]]).float(), [0, 1])
    view = make_view(Tied(), data, masks=masks, exempt=exempt)
    if refused is None:
        assert list(Wanda().scores(view)) == prunable
        return
    with pytest.raises(SddError, match=rf"^pruner 'wanda' cannot observe the inputs of {refused}"
                       ) as caught:
        Wanda().scores(view)
    assert "\n" not in str(caught.value)


def test_outputs_are_as_sparse_as_one_another_as_published(tmp_path):
    """prune_wanda of its authors: of each row the int(columns * ratio) lowest."""
    result = go(small(pruner={"name": "wanda", "sparsity": [0.5, 0.75]}), tmp_path)
    assert result.experiment.pruner.scope.name == "output"
    for level, ratio in ((1, 0.5), (2, 0.75)):
        mask = read_level(result.folder / "levels" / f"{level:02d}").masks["hidden1.weight"]
        assert mask.sum(1).tolist() == [64 - int(64 * ratio)] * 16
        assert result.sparsity[level] == ratio
    other = go(small(pruner={"name": "wanda", "scope": "global"}, levels=1), tmp_path)
    mask = read_level(other.folder / "levels" / "01").masks["hidden1.weight"]
    assert len(set(mask.sum(1).tolist())) > 1


def test_what_it_cannot_see_is_refused(make_view):
    view = make_view(Attention(), dataset(torch.randn(3, 4), [0, 1, 0]))
    with pytest.raises(SddError, match=r"cannot observe the inputs of 'inner.*pruner\.exempt"):
        Wanda().scores(view)

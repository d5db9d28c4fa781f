"""Whole channels go by their scales."""

from __future__ import annotations

import sys
import textwrap

import pytest
import torch
from support import go, scope_of, small
from torch import nn
from torch.nn.utils import parametrizations

from sdd_core import SddError
from sdd_core.level import masks as masking
from sdd_core.pruning import prune
from sdd_core.pruning.rules import Rules
from sdd_core.runs.store import Store
from sdd_plugins.models.resnet import ResNet20
from sdd_plugins.models.vgg import Vgg11
from sdd_plugins.pruners.slimming import Slimming

from ..conftest import dataset

TOGETHER = Rules(prune_ties=Slimming.prune_ties)


def network() -> nn.Sequential:
    made = nn.Sequential(
        nn.Conv2d(1, 3, 2, bias=False), nn.BatchNorm2d(3), nn.ReLU(),
        nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2),
    )  # fmt: skip
    with torch.no_grad():
        made[1].weight.copy_(torch.tensor([0.5, -0.1, 0.3]))
        made[4].weight.copy_(torch.tensor([0.2, -0.9]))
    return made


def view_of(make_view, **options):
    data = dataset(torch.zeros(2, 1, 3, 3), [0, 1])
    return make_view(network(), data, exempt=("7.weight",), **options)


def test_the_weights_into_a_channel_have_its_scale_for_their_score(make_view):
    scores = Slimming().scores(view_of(make_view))
    assert scores["0.weight"].flatten(1).tolist() == [
        pytest.approx([scale] * 4) for scale in (0.5, 0.1, 0.3)
    ]
    assert scores["3.weight"].flatten(1).tolist() == [
        pytest.approx([scale] * 3) for scale in (0.2, 0.9)
    ]


@pytest.mark.parametrize(
    ("sparsity", "first", "second"),
    [  # 18 weights: channels of 4 with 0.1, of 3 with 0.2, of 4 with 0.3, of 4 with 0.5, ...
        (0.05, [1, 0, 1], [1, 1]),
        (0.22, [1, 0, 1], [1, 1]),
        (0.23, [1, 0, 1], [0, 1]),
        (0.5, [1, 0, 0], [0, 1]),
        (0.7, [0, 0, 0], [0, 1]),
    ],
)
def test_as_many_channels_go_as_it_takes(make_view, sparsity, first, second):
    view = view_of(make_view)
    masks = prune.prune_to(view.masks, Slimming().scores(view), sparsity, scope_of("global"),
                             TOGETHER)  # fmt: skip
    for name, channels in (("0.weight", first), ("3.weight", second)):
        expected = torch.tensor(channels, dtype=torch.bool)[:, None]
        assert torch.equal(masks[name].flatten(1), expected.expand_as(masks[name].flatten(1)))
    assert masks["7.weight"].all()


def test_a_fraction_is_of_the_weights_that_are_left(make_view):
    view = view_of(make_view)
    scores, masks = Slimming().scores(view), view.masks
    gone = []
    for _ in range(3):
        masks = prune.prune_fraction(masks, scores, 0.1, scope_of("global"), TOGETHER)
        gone.append(18 - int(masks["0.weight"].sum() + masks["3.weight"].sum()))
    assert gone == [4, 7, 11]  # always one channel, the smallest


def test_what_is_left_of_a_channel_is_a_constant():
    made = network()
    with torch.no_grad():
        made[0].weight[1] = 0.0
        made[1].bias[1] = 0.7
    out = made.train()[:2](torch.randn(4, 1, 3, 3))
    assert out[:, 1].flatten().tolist() == pytest.approx([0.7] * 16)
    assert out[:, 0].std() > 0.1


@pytest.mark.parametrize("model", [Vgg11(width=4), ResNet20(width=4)], ids=lambda m: m.name)
def test_each_convolution_of_the_models_has_its_own_normalisation(make_view, model):
    made = model.build((3, 32, 32), 2)
    norms = {}
    with torch.no_grad():
        for name, module in made.named_modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.fill_(float(len(norms) + 1))
                norms[name] = float(len(norms) + 1)
    last = [name for name in masking.prunable_weights(made) if "conv" not in name][-1]
    data = dataset(torch.zeros(2, 3, 32, 32), [0, 1])
    view = make_view(made, data, exempt=(last,))
    found = [score.flatten()[0].item() for score in Slimming().scores(view).values()]
    assert found == sorted(norms.values())


def test_a_layer_without_normalisation_is_named(make_view):
    data = dataset(torch.zeros(2, 1, 3, 3), [0, 1])
    with pytest.raises(SddError, match=r"no batch normalisation after '7'; .*pruner\.exempt"):
        Slimming().scores(make_view(network(), data))


SOURCE = """
    from torch import nn

    def small(num_classes):
        return nn.Sequential(
            nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(),
            nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8), nn.ReLU(),
            nn.Flatten(), nn.Linear(128, num_classes),
        )
"""


def test_channels_go_in_a_run_and_the_penalty_makes_scales_small(tmp_path, monkeypatch):
    (tmp_path / "slim_network.py").write_text(textwrap.dedent(SOURCE))
    monkeypatch.syspath_prepend(tmp_path)

    def levels(penalty):
        settings = small(
            model="slim_network:small",
            train={"epochs": 2, "norm_penalty": penalty},
            pruner={"name": "slimming", "fraction": 0.3, "exempt": ["7"]},
            retrain="finetune",
        )
        rows = go(settings, tmp_path / "store").levels
        return rows, [Store(tmp_path / "store").load_level(row.key) for row in rows]

    try:
        rows, kept = levels(0.1)
        _, without = levels(0.0)
    finally:
        sys.modules.pop("slim_network", None)
    for row, level in zip(rows, kept, strict=True):
        for name in ("0.weight", "3.weight"):
            channels = level.masks[name].flatten(1)
            assert torch.equal(channels.all(1), channels.any(1))  # none is cut in two
        assert level.masks["7.weight"].all()
        asked = 1 - 0.7**row.level
        assert asked <= row.sparsity <= asked + row.level * 72 / (72 + 576)
    scale = kept[0].state["4.weight"].abs().sum()
    assert scale < 0.8 * without[0].state["4.weight"].abs().sum()


@pytest.mark.parametrize("norm", [parametrizations.weight_norm, parametrizations.spectral_norm])
def test_the_channels_of_a_normed_layer_go_by_their_scales_too(make_view, norm):
    plain, normed = network(), network()
    normed[0] = norm(normed[0])
    data = dataset(torch.zeros(2, 1, 3, 3), [0, 1])
    expected = Slimming().scores(make_view(plain, data, exempt=("7.weight",)))
    found = Slimming().scores(make_view(normed, data, exempt=("7.weight",)))
    assert torch.equal(next(iter(found.values())), expected["0.weight"])


@pytest.mark.parametrize("scope", ["output", "input"])
def test_a_scope_within_layers_would_cut_channels_and_is_refused_before_training(tmp_path, scope):
    with pytest.raises(SddError, match=rf"^scope '{scope}' .* splits the channels"):
        go(small(pruner={"name": "slimming", "scope": scope}), tmp_path)
    assert not list(tmp_path.glob("*-seed0-*"))

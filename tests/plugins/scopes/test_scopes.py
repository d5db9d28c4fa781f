from __future__ import annotations

import pytest
import torch
from support import go, plugins_with, small
from torch import nn

from sdd_core import Layer, Scope, SddError
from sdd_core.pruning.prune import prune_fraction
from sdd_core.runs.level_files import read_level
from sdd_plugins.scopes import Global, Input, Layerwise, Output

LAYERS = {"a": Layer(6, (2, 4)), "b": Layer(3, (1, 3))}


def half(kept: int, size: int) -> int:
    return kept // 2


def test_all_layers_compete_or_each_within_itself():
    assert Global().shares(LAYERS, half) == [(["a", "b"], 4)]
    assert Layerwise().shares(LAYERS, half) == [(["a"], 3), (["b"], 1)]
    for scope in (Output(), Input()):
        assert scope.shares(LAYERS, half) == [(["a"], 3), (["b"], 1)]


@pytest.mark.parametrize(("scope", "dim"), [("output", 0), ("input", 1)])
def test_each_filter_or_channel_of_a_run_loses_as_much(tmp_path, scope, dim):
    def network():
        return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.ConvTranspose2d(4, 6, 3), nn.ReLU(),
                             nn.Flatten(), nn.Linear(6 * 64, 10))  # fmt: skip

    pruner = {"name": "imp", "scope": scope, "fraction": 0.5}
    result = go({"train": {"epochs": 1}, "levels": 2, "pruner": pruner, "model": network}, tmp_path)
    masks = read_level(result.folder / "levels" / "02").masks
    for name, mask in masks.items():
        across = 1 - dim if name == "2.weight" else dim
        kept = mask.movedim(across, 0).flatten(1).sum(1)
        assert int(kept.max() - kept.min()) <= 1, name
        assert abs(int(mask.sum()) - mask.numel() / 4) <= 1


class Ends(Scope):
    """The first layer and the last one compete, the others lose nothing."""

    name = "ends"

    def shares(self, layers, count):
        first, *others, last = layers
        kept = layers[first].kept + layers[last].kept
        size = layers[first].size + layers[last].size
        return [([first, last], count(kept, size)), *(([name], 0) for name in others)]


def test_a_scope_of_a_third_party_prunes_as_it_says(tmp_path):
    plugins = plugins_with(sdd_scopes=[Ends])
    pruner = {"name": "imp", "scope": "ends", "fraction": 0.5, "exempt": []}
    settings = small(model={"name": "mlp", "widths": [6, 5, 4]}, pruner=pruner, levels=1)
    result = go(settings, tmp_path, plugins=plugins)
    densities = {name: value for name, value in result.levels[1].metrics.items()
                 if name.startswith("density")}
    record = (result.folder / "experiment.toml").read_text()
    assert 'scope = "ends"' in record
    assert result.levels[1].sparsity < 0.5, densities


class Faulty(Scope):
    """Says what it was told to."""

    name = "faulty"
    answer: str

    def shares(self, layers, count):
        names = list(layers)
        return {
            "forgets": [(names[:1], 1)],
            "twice": [(names, 1), (names[:1], 1)],
            "stranger": [([*names, "other"], 1)],
            "too many": [(names, 10**6)],
            "negative": [(names, -1)],
            "nothing": None,
        }[self.answer]


@pytest.mark.parametrize("answer", ["forgets", "twice", "stranger", "too many", "negative",
                                    "nothing"])  # fmt: skip
def test_a_wrong_scope_is_named_in_one_line(answer):
    masks = {name: torch.ones(2, 3, dtype=torch.bool) for name in ("first", "second")}
    scores = {name: torch.rand(2, 3) for name in masks}
    with pytest.raises(SddError, match="scope 'faulty'") as caught:
        prune_fraction(masks, scores, 0.5, Faulty(answer=answer))
    assert "\n" not in str(caught.value)

"""Masks against an independent implementation that sorts, and what must hold for all of them."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support import scope_of
from torch import nn

from sdd_core import SddError
from sdd_core.level.masks import density, exempt_weights, full_masks, prunable_weights, sparsity
from sdd_core.pruning.prune import check_scores, prune_fraction, prune_to

FRACTIONS = st.integers(1, 99).map(lambda percent: percent / 100)


@st.composite
def pruning(draw):
    """Masks of a few layers, scores (with many ties) for some of them, and a scope."""
    sizes = draw(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 9)), min_size=1, max_size=4))
    masks, scores = {}, {}
    scored = draw(st.integers(1, len(sizes)))
    for number, shape in enumerate(sizes):
        count = math.prod(shape)
        kept = draw(st.lists(st.booleans(), min_size=count, max_size=count))
        masks[f"layer{number}"] = torch.tensor(kept).view(shape)
        if number < scored:
            values = draw(st.lists(st.integers(-3, 3), min_size=count, max_size=count))
            scores[f"layer{number}"] = torch.tensor(values, dtype=torch.float32).view(shape)
    return masks, scores, draw(st.sampled_from(["global", "layer"]))


def by_sorting(masks, scores, scope, count):
    """The pruned masks as nested lists of plain Python: sort everything, take the first."""
    after = {name: mask.flatten().tolist() for name, mask in masks.items()}
    groups = [list(scores)] if scope == "global" else [[name] for name in scores]
    for names in groups:
        size = sum(len(after[name]) for name in names)
        ranking = sorted(
            (float(scores[name].flatten()[position]), names.index(name), position)
            for name in names
            for position, kept in enumerate(after[name])
            if kept
        )
        for _, layer, position in ranking[: count(len(ranking), size)]:
            after[names[layer]][position] = False
    return after


def as_lists(masks):
    return {name: mask.flatten().tolist() for name, mask in masks.items()}


@settings(max_examples=80)
@given(pruning(), FRACTIONS)
def test_prune_fraction_is_what_sorting_gives(case, fraction):
    masks, scores, scope = case
    before = as_lists(masks)
    pruned = prune_fraction(masks, scores, fraction, scope_of(scope))
    exact = Fraction(str(fraction))
    assert as_lists(pruned) == by_sorting(
        masks, scores, scope, lambda kept, _: math.ceil(exact * kept)
    )
    assert as_lists(masks) == before
    assert {n: m.shape for n, m in pruned.items()} == {n: m.shape for n, m in masks.items()}


@settings(max_examples=80)
@given(pruning(), FRACTIONS)
def test_prune_to_is_what_sorting_gives(case, wanted):
    masks, scores, scope = case

    def count(kept, size):
        return max(0, math.ceil(Fraction(str(wanted)) * size) - (size - kept))

    pruned = prune_to(masks, scores, wanted, scope_of(scope))
    assert as_lists(pruned) == by_sorting(masks, scores, scope, count)


@settings(max_examples=40)
@given(pruning(), FRACTIONS, st.integers(0, 99))
def test_masks_are_nested_down_to_nothing_and_exempt_layers_stay(case, fraction, seed):
    masks, scores, scope = case
    first = masks
    draw = torch.Generator().manual_seed(seed)
    for _ in range(200):
        fresh = {name: torch.rand(s.shape, generator=draw) for name, s in scores.items()}
        after = prune_fraction(masks, fresh, fraction, scope_of(scope))
        assert all(bool((masks[name] | ~after[name]).all()) for name in masks)
        kept = sum(int(masks[name].sum()) for name in scores)
        assert kept == 0 or sum(int(after[name].sum()) for name in scores) < kept
        masks = after
    # 200 levels lose at least one weight each, and no case has so many.
    assert density(masks, scores) == 0
    for name in first.keys() - scores.keys():
        assert torch.equal(masks[name], first[name])


@pytest.mark.parametrize(
    ("fraction", "size", "gone"),
    # 0.2 * 49,200 is 9,840.000000000002 in floats, and 0.07 * 100 is 7.000000000000001
    [(0.2, 49_200, 9_840), (0.07, 100, 7), (0.2, 1, 1), (0.2, 6, 2), (0.5, 3, 2), (1e-9, 5, 1)],
)
def test_the_number_that_goes_is_exact(fraction, size, gone):
    masks = {"a": torch.ones(1, size, dtype=torch.bool)}
    for scope in ("global", "layer"):
        pruned = prune_fraction(masks, {"a": torch.rand(1, size)}, fraction, scope_of(scope))
        assert int((~pruned["a"]).sum()) == gone


def test_ties_go_in_the_order_of_layers_and_positions():
    masks = {name: torch.ones(2, 2, dtype=torch.bool) for name in ("first", "second")}
    scores = {name: torch.zeros(2, 2) for name in ("first", "second")}
    pruned = prune_fraction(masks, scores, 0.75, scope_of("global"))
    assert as_lists(pruned) == {"first": [False] * 4, "second": [False, False, True, True]}


def test_scope_layer_takes_the_share_of_each_and_global_the_lowest_of_all():
    masks = {name: torch.ones(1, 4, dtype=torch.bool) for name in ("low", "high")}
    scores = {"low": torch.tensor([[1.0, 2, 3, 4]]), "high": torch.tensor([[5.0, 6, 7, 8]])}
    assert as_lists(prune_fraction(masks, scores, 0.5, scope_of("layer"))) == {
        "low": [False, False, True, True],
        "high": [False, False, True, True],
    }
    assert as_lists(prune_fraction(masks, scores, 0.5, scope_of("global"))) == {
        "low": [False] * 4,
        "high": [True] * 4,
    }


def test_a_layer_may_lose_all_its_weights_and_the_others_go_on():
    masks = {name: torch.ones(1, 4, dtype=torch.bool) for name in ("weak", "strong")}
    scores = {"weak": torch.zeros(1, 4), "strong": torch.arange(1.0, 5.0).view(1, 4)}
    once = prune_fraction(masks, scores, 0.5, scope_of("global"))
    assert not once["weak"].any()
    again = prune_fraction(once, scores, 0.5, scope_of("global"))
    assert as_lists(again)["strong"] == [False, False, True, True]
    by_layer = prune_fraction(once, scores, 0.25, scope_of("layer"))
    assert as_lists(by_layer) == {"weak": [False] * 4, "strong": [False, True, True, True]}


def test_infinite_scores_go_last_and_scores_of_pruned_weights_are_ignored():
    masks = {"a": torch.tensor([[True, True, False, True]])}
    scores = {"a": torch.tensor([[math.inf, -math.inf, math.nan, 3.0]])}
    pruned = prune_fraction(masks, scores, 0.5, scope_of("global"))
    assert as_lists(pruned) == {"a": [True, False, False, False]}


def test_prune_to_a_sparsity_that_is_there_already_changes_nothing():
    masks = {"a": torch.tensor([[True, False, False, False]])}
    pruned = prune_to(masks, {"a": torch.rand(1, 4)}, 0.5, scope_of("global"))
    assert as_lists(pruned) == as_lists(masks)


def test_density_and_sparsity_count_the_layers_that_are_asked_for():
    masks = {"a": torch.tensor([[True, False, False, False]]), "b": torch.tensor([[True, True]])}
    assert density(masks) == sparsity(masks) == 3 / 6
    assert density(masks, ["a"]) == 1 / 4
    assert sparsity(masks, ["a"]) == 3 / 4
    # 1 - 0.8 would be 0.19999999999999996
    assert sparsity({"a": torch.tensor([[False] + [True] * 4])}) == 0.2
    assert density(full_masks({"w": torch.zeros(3, 2)})) == 1


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(3)
        self.one = nn.Linear(3, 3)
        self.twin = nn.Linear(3, 3)
        self.twin.weight = self.one.weight
        self.conv = nn.Conv2d(1, 2, 3)
        self.frozen = nn.Linear(3, 3).requires_grad_(False)


def test_prunable_weights_in_order_and_a_shared_one_once():
    network = Tied()
    weights = prunable_weights(network)
    assert list(weights) == ["one.weight", "conv.weight"]
    assert weights["one.weight"] is network.twin.weight


class Strange(nn.Module):
    """Layers that nobody has seen together."""

    def __init__(self):
        super().__init__()
        self.token = nn.Parameter(torch.zeros(1, 1, 4))
        self.words = nn.Embedding(5, 4)
        self.attention = nn.MultiheadAttention(4, 2)
        self.cross = nn.MultiheadAttention(4, 2, kdim=3, vdim=5)
        self.norm = nn.LayerNorm(4)
        self.volume = nn.Conv3d(1, 2, 2)
        self.up = nn.ConvTranspose2d(2, 1, 2)
        self.unembed = nn.Linear(4, 5, bias=False)
        self.unembed.weight = self.words.weight


def test_attention_projections_are_prunable_and_embeddings_are_not_even_when_tied():
    weights = prunable_weights(Strange())
    assert {name: list(weight.shape) for name, weight in weights.items()} == {
        "attention.in_proj_weight": [12, 4],
        "attention.out_proj.weight": [4, 4],
        "cross.q_proj_weight": [4, 4],
        "cross.k_proj_weight": [4, 3],
        "cross.v_proj_weight": [4, 5],
        "cross.out_proj.weight": [4, 4],
        "volume.weight": [2, 1, 2, 2, 2],
        "up.weight": [2, 1, 2, 2],
    }
    assert exempt_weights(weights, ["cross"]) == {f"cross.{part}_proj_weight" for part in "qkv"}


def test_a_network_without_prunable_layers_is_refused():
    with pytest.raises(SddError, match="Sequential has no prunable layers; expected at least one"):
        prunable_weights(nn.Sequential(nn.BatchNorm2d(3), nn.ReLU()))


NAMES = ["conv1.weight", "layer1.0.conv.weight", "fc.weight"]


@pytest.mark.parametrize(
    ("patterns", "exempt"),
    [
        ((), set()),
        (("fc",), {"fc.weight"}),
        (("fc.weight", "conv*"), {"fc.weight", "conv1.weight"}),
        (("*conv*",), {"conv1.weight", "layer1.0.conv.weight"}),
        (("layer[12].*",), {"layer1.0.conv.weight"}),
    ],
)
def test_exempt_patterns_match_layers_and_weights(patterns, exempt):
    assert exempt_weights(NAMES, patterns) == exempt


def test_exempt_patterns_that_match_nothing_or_everything_are_refused():
    with pytest.raises(SddError, match=r"'FC' matches no layer; available: conv1, layer1.0.conv,"):
        exempt_weights(NAMES, ["fc", "FC"])
    with pytest.raises(SddError, match="leaves no layer to prune; exempt fewer"):
        exempt_weights(NAMES, ["*"])
    with pytest.raises(SddError, match=r"available: weight$"):
        exempt_weights(["weight"], ["fc"])


MASKS = {
    "a": torch.tensor([[True, False]]),
    "b": torch.tensor([[True, True]]),
    "c": torch.tensor([[True]]),
}


def test_checked_scores_come_in_the_networks_order_and_without_gradient():
    given_scores = {"b": torch.ones(1, 2, requires_grad=True), "a": torch.tensor([[1.0, math.nan]])}
    checked = check_scores(given_scores, MASKS, ["a", "b"], "pruner 'mine'")
    assert list(checked) == ["a", "b"]
    assert not checked["b"].requires_grad


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ([1, 2], "'mine' returned list; expected a mapping from layer to scores"),
        ({"a": torch.ones(1, 2)}, "'mine' gave no scores for 'b'; expected a, b"),
        (
            {"a": torch.ones(1, 2), "b": torch.ones(1, 2), "c": torch.ones(1, 1)},
            "'mine' scored an unknown layer 'c'; expected a, b",
        ),
        (
            {"a": torch.ones(2, 1), "b": torch.ones(1, 2)},
            r"scores of 'a' have shape \[2, 1\]; expected \[1, 2\]",
        ),
        ({"a": torch.ones(1, 2), "b": 3.0}, "scores of 'b': float is not a torch.Tensor"),
        (
            {"a": torch.ones(1, 2), "b": torch.tensor([[math.nan, 1.0]])},
            r"scores of 'b' are not a number \(NaN\)",
        ),
        (
            {"a": torch.ones(1, 2), "b": torch.tensor([[True, False]])},
            "scores of 'b' are torch.bool; expected real numbers",
        ),
    ],
)
def test_scores_that_cannot_be_used_are_refused_in_one_line(scores, message):
    with pytest.raises(SddError, match=message) as caught:
        check_scores(scores, MASKS, ["a", "b"], "pruner 'mine'")
    assert "\n" not in str(caught.value)

"""Exact counts with floors and within outputs, against implementations that do one at a time."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support import scope_of

from sdd_core import Scope, SddError
from sdd_core.level.layers import Layout
from sdd_core.pruning.prune import prune_fraction, prune_to
from sdd_core.pruning.rules import Rules, check_together
from sdd_core.pruning.selection import least, share

FRACTIONS = st.integers(1, 99).map(lambda percent: percent / 100)
FLOORS = st.one_of(st.integers(1, 12), st.integers(1, 60).map(lambda percent: percent / 100))


@st.composite
def layers(draw):
    """Masks of a few layers, and scores with many ties."""
    masks, scores = {}, {}
    for number in range(draw(st.integers(1, 4))):
        shape = draw(st.tuples(st.integers(1, 5), st.integers(1, 6)))
        count = math.prod(shape)
        kept = draw(st.lists(st.booleans(), min_size=count, max_size=count))
        values = draw(st.lists(st.integers(-3, 3), min_size=count, max_size=count))
        masks[f"layer{number}"] = torch.tensor(kept).view(shape)
        scores[f"layer{number}"] = torch.tensor(values, dtype=torch.float32).view(shape)
    return masks, scores


def one_at_a_time(masks, scores, number, floors):
    """Take the lowest score again and again, but none of a layer that is down to its floor; the
    masks as lists, or None where nothing more may go."""
    left = {name: mask.flatten().tolist() for name, mask in masks.items()}
    order = list(left)
    for _ in range(number):
        free = [
            (float(scores[name].flatten()[position]), order.index(name), position)
            for name, kept in left.items() if sum(kept) > floors[name]
            for position, one in enumerate(kept) if one
        ]  # fmt: skip
        if not free:
            return None
        _, layer, position = min(free)
        left[order[layer]][position] = False
    return left


@settings(max_examples=150, deadline=None)
@given(given=layers(), fraction=FRACTIONS, floor=FLOORS, to=st.booleans())
def test_what_a_protected_layer_may_not_lose_the_others_lose(given, fraction, floor, to):
    masks, scores = given
    floors = {name: least(floor, mask.numel()) for name, mask in masks.items()}
    kept = sum(int(mask.sum()) for mask in masks.values())
    size = sum(mask.numel() for mask in masks.values())
    number = max(0, share(fraction, size) - (size - kept)) if to else share(fraction, kept)
    expected = one_at_a_time(masks, scores, number, floors)
    prune = prune_to if to else prune_fraction
    rules = Rules(keep_at_least=floor)
    if expected is None:
        with pytest.raises(SddError, match=r"^pruner\.keep_at_least .* allows \d+ more") as caught:
            prune(masks, scores, fraction, scope_of("global"), rules)
        assert "\n" not in str(caught.value)
        return
    pruned = prune(masks, scores, fraction, scope_of("global"), rules)
    assert {name: mask.flatten().tolist() for name, mask in pruned.items()} == expected


@settings(max_examples=60, deadline=None)
@given(given=layers(), fraction=FRACTIONS, floor=FLOORS)
def test_each_layer_by_itself_keeps_its_share_or_the_target_is_refused(given, fraction, floor):
    masks, scores = given
    kept = {name: int(mask.sum()) for name, mask in masks.items()}
    wanted = {name: share(fraction, count) for name, count in kept.items()}
    possible = all(
        wanted[name] <= max(0, kept[name] - least(floor, masks[name].numel())) for name in masks
    )
    for scope in ("layer", "output", "input"):
        try:
            pruned = prune_fraction(masks, scores, fraction, scope_of(scope),
                                    Rules(keep_at_least=floor))
        except SddError:
            assert not possible
        else:
            assert possible
            assert {name: int(mask.sum()) for name, mask in pruned.items()} == {
                name: kept[name] - wanted[name] for name in masks
            }


def test_channels_that_go_whole_stay_whole_at_the_floor():
    masks = {"a": torch.ones(3, 2, dtype=torch.bool), "b": torch.ones(1, 6, dtype=torch.bool)}
    scores = {"a": torch.tensor([[1.0], [2.0], [3.0]]).expand(3, 2), "b": torch.full((1, 6), 9.0)}
    rules = Rules(prune_ties=True, keep_at_least=3)
    pruned = prune_to(masks, scores, 2 / 12, scope_of("global"), rules)
    assert pruned["a"].sum(1).tolist() == [0, 2, 2]
    nothing = {**pruned, "a": torch.zeros(3, 2, dtype=torch.bool)}  # of which none can go
    with pytest.raises(SddError, match="allows 0 more weights"):
        prune_to(nothing, scores, 8 / 12, scope_of("global"), rules)
    # Of `a` one channel more would leave 2 of 6, and of `b` all are equal.
    with pytest.raises(SddError, match="allows 0 more weights of 2 layers to be pruned"):
        prune_to(pruned, scores, 4 / 12, scope_of("global"), rules)


def rows_by_hand(mask, scores, number):
    """Each row loses its share of `number`, by largest remainders; the lowest first."""
    left = [sum(row) for row in mask.tolist()]
    whole = max(1, sum(left))
    shares = [number * count // whole for count in left]
    by_remainder = sorted(range(len(left)), key=lambda row: -(number * left[row] % whole))
    for row in by_remainder[: number - sum(shares)]:
        shares[row] += 1
    after = mask.tolist()
    for row, count in enumerate(shares):
        ranking = sorted((float(scores[row, p]), p) for p, kept in enumerate(after[row]) if kept)
        for _, position in ranking[:count]:
            after[row][position] = False
    return after


@settings(max_examples=150, deadline=None)
@given(given=layers(), fraction=FRACTIONS, side=st.sampled_from(["output", "input"]),
       transposed=st.booleans(), to=st.booleans())  # fmt: skip
def test_within_rows_or_columns_as_by_hand(given, fraction, side, transposed, to):
    masks, scores = given
    rules = Rules(layouts=dict.fromkeys(masks, Layout(transposed)))
    pruned = (prune_to if to else prune_fraction)(masks, scores, fraction, scope_of(side), rules)
    columns = (side == "input") != transposed
    for name, mask in masks.items():
        kept, size = int(mask.sum()), mask.numel()
        number = max(0, share(fraction, size) - (size - kept)) if to else share(fraction, kept)
        turned = [one.T if columns else one for one in (mask, scores[name], pruned[name])]
        assert turned[2].tolist() == rows_by_hand(turned[0], turned[1], number)
        assert int(pruned[name].sum()) == kept - number


@given(rows=st.integers(1, 9), columns=st.integers(1, 30), fraction=FRACTIONS,
       seed=st.integers(0, 99))
def test_outputs_stay_as_dense_as_one_another_level_after_level(rows, columns, fraction, seed):
    draw = torch.Generator().manual_seed(seed)
    masks = {"a": torch.ones(rows, columns, dtype=torch.bool)}
    for _ in range(6):
        scores = {"a": torch.rand(rows, columns, generator=draw)}
        masks = prune_fraction(masks, scores, fraction, scope_of("output"))
        left = masks["a"].sum(1)
        assert int(left.max() - left.min()) <= 1


def test_infinite_scores_go_last_and_those_of_pruned_weights_are_ignored():
    masks = {"a": torch.tensor([[True, True, False, True], [True, False, True, False]])}
    scores = {"a": torch.tensor([[math.inf, -math.inf, math.nan, 3.0],
                                 [math.inf, math.nan, 1.0, -5.0]])}  # fmt: skip
    pruned = prune_fraction(masks, scores, 0.6, scope_of("output"))
    assert pruned["a"].tolist() == [[True, False, False, False], [True, False, False, False]]


class Pairs(Scope):
    """Puts layers together, and compares within outputs."""

    name = "pairs"
    within = "output"

    def shares(self, layers, count):
        return [(list(layers), 1)]


def test_a_scope_within_layers_has_one_layer_in_each_group():
    masks = {name: torch.ones(2, 3, dtype=torch.bool) for name in ("a", "b")}
    with pytest.raises(SddError, match=r"scope 'pairs' compares .* puts a, b together"):
        prune_fraction(masks, {n: torch.rand(2, 3) for n in masks}, 0.5, Pairs())
    assert prune_fraction(masks, {"a": torch.rand(2, 3)}, 0.5, Pairs())["a"].sum() == 5


def test_pruners_of_whole_channels_are_not_cut():
    with pytest.raises(SddError, match=r"scope 'output' compares .* choose 'global', 'layer'"):
        check_together(scope_of("output"), prune_ties=True)

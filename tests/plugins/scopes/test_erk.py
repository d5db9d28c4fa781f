from __future__ import annotations

import math

import torch
from hypothesis import given
from hypothesis import strategies as st

from sdd_core.pruning.prune import prune_fraction
from sdd_plugins.scopes.erk import Erk, erk


def test_erk_by_hand():
    """LeNet-300-100's hidden layers: dimensions sum to 364 and 400 of 764."""
    shapes = {"hidden1": (300, 64), "hidden2": (100, 300)}
    kept = {"hidden1": 19_200, "hidden2": 30_000}
    assert erk(shapes, kept, 7640) == {"hidden1": 3640, "hidden2": 4000}
    # 10 * 364 / 764 = 4.76 and 5.24: the larger remainder takes the one that is left
    assert erk(shapes, kept, 10) == {"hidden1": 5, "hidden2": 5}
    # A share of more than there is: 45,000 * 364 / 764 = 21,440 > 19,200
    assert erk(shapes, kept, 45_000) == {"hidden1": 19_200, "hidden2": 25_800}
    # kernels count: 16 + 3 + 3 + 3 of 35
    assert erk({"conv": (16, 3, 3, 3), "fc": (2, 8)}, {"conv": 432, "fc": 16}, 14) == {
        "conv": 10, "fc": 4,
    }


@given(
    shapes=st.lists(st.lists(st.integers(1, 12), min_size=2, max_size=4), min_size=1, max_size=5),
    data=st.data(),
)
def test_erk_keeps_exactly_the_total_and_gives_nothing_back(shapes, data):
    named = {str(number): tuple(shape) for number, shape in enumerate(shapes)}
    kept = {name: data.draw(st.integers(0, math.prod(shape))) for name, shape in named.items()}
    total = data.draw(st.integers(0, sum(kept.values())))
    shares = erk(named, kept, total)
    assert sum(shares.values()) == total
    assert all(0 <= shares[name] <= kept[name] for name in named)
    # Layers that are not full differ from one common factor by less than one weight.
    free = [name for name in named if shares[name] < kept[name]]
    for one in free:
        for other in free:
            assert shares[one] - 1 < (shares[other] + 1) * sum(named[one]) / sum(named[other])


def test_the_erk_scope_prunes_each_layer_to_its_share():
    draw = torch.Generator().manual_seed(0)
    masks = {"a": torch.ones(30, 10, dtype=torch.bool), "b": torch.ones(5, 4, dtype=torch.bool)}
    scores = {name: torch.rand(mask.shape, generator=draw) for name, mask in masks.items()}
    pruned = prune_fraction(masks, scores, 0.5, Erk())
    # 160 of 320 stay; the small layer's share, 160 * 9 / 49 = 29, is more than its 20
    assert {name: int(mask.sum()) for name, mask in pruned.items()} == {"a": 140, "b": 20}
    lowest = scores["a"].flatten().sort().values[159]
    assert torch.equal(pruned["a"], scores["a"] > lowest)
    for _ in range(30):
        before, pruned = pruned, prune_fraction(pruned, scores, 0.5, Erk())
        assert all(bool((pruned[name] <= before[name]).all()) for name in masks)
    assert not any(bool(mask.any()) for mask in pruned.values())

"""Groups of weights that are pruned together, and N:M."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support import go, small
from torch import nn
from torch.sparse._semi_structured_conversions import (
    sparse_semi_structured_from_dense_cutlass,
    sparse_semi_structured_to_dense_cutlass,
)

import sdd_core
from sdd_core import Experiment, SddError, load_plugins
from sdd_core.level.layers import Layout
from sdd_core.plugin.kinds.scope import Layer
from sdd_core.plugin.pattern import parse_pattern
from sdd_core.pruning.groups import positions_of
from sdd_core.pruning.prune import prune_fraction, prune_to
from sdd_core.pruning.rules import Rules
from sdd_core.pruning.shares import by_fraction, shares_of

PLUGINS = load_plugins()


def scope(name):
    return PLUGINS.get("scope", name)()


def pruned(scores, sparsity, pattern, within="layer", masks=None, **rules):
    """The mask of one weight, as 0 and 1."""
    full = masks if masks is not None else torch.ones_like(scores, dtype=torch.bool)
    given = Rules(pattern=parse_pattern(pattern), **rules)
    return prune_to({"w": full}, {"w": scores}, sparsity, scope(within), given)["w"].int()


MATRIX = torch.tensor([[1.0, 2, 3, 4], [8, 7, 6, 5], [9, 1, 9, 1], [2, 2, 2, 2]])


@pytest.mark.parametrize(("pattern", "sparsity", "expected"), [
    ("2:4", 0.5, [[0, 0, 1, 1], [1, 1, 0, 0], [1, 0, 1, 0], [0, 0, 1, 1]]),
    ("1:2", 0.25, [[0, 1, 1, 1], [1, 1, 1, 1], [1, 0, 1, 0], [0, 1, 1, 1]]),
    ("row", 0.25, [[1, 1, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1], [0, 0, 0, 0]]),
    ("row", 0.3, [[0, 0, 0, 0], [1, 1, 1, 1], [1, 1, 1, 1], [0, 0, 0, 0]]),
    ("channel", 0.25, [[1, 1, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1], [0, 0, 0, 0]]),
    ("column", 0.5, [[1, 0, 1, 0]] * 4),
    ("block 2x2", 0.25, [[1, 1, 1, 1], [1, 1, 1, 1], [0, 0, 1, 1], [0, 0, 1, 1]]),
    ("block 1x4", 0.25, [[1, 1, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1], [0, 0, 0, 0]]),
])  # fmt: skip
def test_small_cases_by_hand(pattern, sparsity, expected):
    # Sums of rows 10, 26, 20, 8; of columns 20, 12, 20, 12; of blocks 18, 18, 14, 14.
    assert pruned(MATRIX, sparsity, pattern).tolist() == expected


def test_the_score_of_a_group_is_that_of_its_remaining_weights():
    kept = torch.tensor([[1, 0, 0, 0], [1, 1, 1, 1]], dtype=torch.bool)
    scores = torch.tensor([[3.0, 9, 9, 9], [1, 1, 1, 1]])
    # Sums 3 and 4, means 3 and 1.
    for combine, expected in (("sum", [[0, 0, 0, 0], [1, 1, 1, 1]]),
                              ("mean", [[1, 0, 0, 0], [0, 0, 0, 0]])):
        found = pruned(scores, 0.4, "row", masks=kept, combine=combine)
        assert found.tolist() == expected


def test_a_convolution_has_groups_along_its_input_channels():
    # [outputs, inputs, height, width]: the groups of 2:4 are the inputs at one kernel position.
    found = positions_of(parse_pattern("2:4"), "w", (2, 4, 1, 2), Layout())
    assert found.tolist() == [[0, 2, 4, 6], [1, 3, 5, 7], [8, 10, 12, 14], [9, 11, 13, 15]]
    assert positions_of(parse_pattern("channel"), "w", (2, 2, 1, 2), Layout()).tolist() == [
        [0, 1, 2, 3], [4, 5, 6, 7]]
    # [inputs, outputs, ...] in a transposed convolution.
    transposed = Layout(transposed=True)
    assert positions_of(parse_pattern("channel"), "w", (2, 3), transposed).tolist() == [
        [0, 3], [1, 4], [2, 5]]
    assert positions_of(parse_pattern("1:2"), "w", (2, 3), transposed).tolist() == [
        [0, 3], [1, 4], [2, 5]]


PATTERNS = ["row", "column", "channel", "block 2x4", "block 4x2", "2:4", "1:4", "1:2"]
SHAPES = st.sampled_from([(4, 4), (4, 8), (8, 4), (4, 4, 1, 1), (8, 4, 2, 1), (4, 8, 1, 3)])


@given(
    shapes=st.lists(SHAPES, min_size=1, max_size=3),
    pattern=st.sampled_from(PATTERNS),
    where=st.sampled_from(["global", "layer", "erk"]),
    fractions=st.lists(st.floats(0.05, 0.3), min_size=1, max_size=2),
    seed=st.integers(0, 2**31),
    levels=st.sampled_from([2, 5, 1000]),
)
def test_any_pattern_in_any_network(shapes, pattern, where, fractions, seed, levels):
    """Compared with a search that goes through the groups one by one."""
    draw = torch.Generator().manual_seed(seed)
    # Few different scores, so that there are ties.
    scores = {f"w{i}": torch.randint(levels, shape, generator=draw).float()
              for i, shape in enumerate(shapes)}
    masks = {name: torch.ones_like(one, dtype=torch.bool) for name, one in scores.items()}
    rules = Rules(pattern=parse_pattern(pattern))
    for fraction in fractions:
        try:
            after = prune_fraction(masks, scores, fraction, scope(where), rules)
        except SddError as error:
            assert rules.pattern.keep is not None
            assert "allows" in str(error)  # noqa: PT017
            return
        assert not any((after[name] & ~mask).any() for name, mask in masks.items()), "nested"
        expected = one_by_one(masks, scores, fraction, scope(where), rules)
        assert {name: mask.tolist() for name, mask in after.items()} == expected
        masks = after
    for name, mask in masks.items():
        kept = mask.flatten()[positions_of(rules.pattern, name, mask.shape, Layout())].sum(1)
        if rules.pattern.keep is None:
            assert set(kept.tolist()) <= {0, math.prod(mask.shape) // len(kept)}
        else:
            assert kept.min() >= rules.pattern.keep


def one_by_one(masks, scores, fraction, scope, rules):
    after = {name: mask.flatten().tolist() for name, mask in masks.items()}
    layers = {name: Layer(int(mask.sum()), tuple(mask.shape)) for name, mask in masks.items()}
    for names, number in shares_of(scope, layers, by_fraction(fraction)):
        candidates = []
        for order, name in enumerate(names):
            flat = scores[name].flatten().tolist()
            groups = positions_of(rules.pattern, name, masks[name].shape, Layout()).tolist()
            for place, group in enumerate(groups):
                left = [p for p in group if after[name][p]]
                left.sort(key=flat.__getitem__)  # stable
                if rules.pattern.keep is None:
                    if left:
                        candidates.append((sum(flat[p] for p in left), order, place, name, left))
                else:
                    candidates += [(flat[p], order, p, name, [p])
                                   for p in left[:max(0, len(left) - rules.pattern.keep)]]
        pruned_yet = 0
        for _, _, _, name, left in sorted(candidates):
            if pruned_yet >= number:
                break
            for position in left:
                after[name][position] = False
            pruned_yet += len(left)
    return {name: torch.tensor(flat).view(masks[name].shape).tolist()
            for name, flat in after.items()}


@pytest.mark.parametrize("within", ["global", "layer", "erk", "output", "input"])
def test_two_of_four_are_what_torch_takes_for_them(within):
    draw = torch.Generator().manual_seed(0)
    weight = torch.randn(32, 64, generator=draw).half()
    masks = torch.ones(32, 64, dtype=torch.bool)
    for sparsity in (0.2, 0.4, 0.5):
        mask = pruned(weight.float().abs(), sparsity, "2:4", within, masks).bool()
        assert not (mask & ~masks).any()
        masks = mask
        assert int(mask.sum()) == math.floor((1 - sparsity) * mask.numel())
    assert set(mask.view(32, 16, 4).sum(2).flatten().tolist()) == {2}
    packed = sparse_semi_structured_from_dense_cutlass(weight * mask)
    assert torch.equal(sparse_semi_structured_to_dense_cutlass(*packed), weight * mask)


@given(seed=st.integers(0, 2**31), sparsity=st.floats(0.1, 0.7),
       pattern=st.sampled_from(["block 1x2", "block 1x4", "row"]))
def test_groups_within_an_output_are_pruned_alike_in_each(seed, sparsity, pattern):
    # Each output loses whole groups, at most a part of a group more than its share.
    scores = torch.rand(4, 8, generator=torch.Generator().manual_seed(seed))
    kept = pruned(scores, sparsity, pattern, "output").sum(1)
    size = {"block 1x2": 2, "block 1x4": 4, "row": 8}[pattern]
    wanted = 8 * (1 - sparsity)
    for count in kept.tolist():
        assert count % size == 0
        assert wanted - size - 1 < count <= wanted + 1


def test_groups_across_outputs_do_not_go_with_a_scope_within_outputs():
    with pytest.raises(SddError, match=r"several outputs, but pruner.scope"):
        pruned(MATRIX, 0.5, "block 2x2", "output")


@pytest.mark.parametrize("pattern", ["row", "block 2x2", "2:4"])
def test_a_layer_keeps_at_least_what_it_is_asked_to(pattern):
    scores = {"a": torch.rand(4, 4), "b": 10 + torch.rand(4, 4)}
    masks = {name: torch.ones(4, 4, dtype=torch.bool) for name in scores}
    rules = Rules(pattern=parse_pattern(pattern), keep_at_least=12)
    after = prune_to(masks, scores, 0.25, scope("global"), rules)
    assert {name: int(mask.sum()) for name, mask in after.items()} == {"a": 12, "b": 12}


def test_ties_go_together_with_a_pruner_of_whole_channels():
    found = pruned(torch.tensor([[1.0, 1], [1, 1], [2, 2]]), 0.1, "row", prune_ties=True)
    assert found.tolist() == [[0, 0], [0, 0], [1, 1]]


@pytest.mark.parametrize("text", ["", "4:2", "2:2", "0:4", "2/4", "block 4", "block 0x2", "filter"])
def test_what_is_no_pattern_is_refused(text):
    with pytest.raises(SddError, match=r"pruner.pattern: .*expected 'unstructured', 'row'"):
        Experiment.make({"pruner": {"name": "imp", "pattern": text}}, PLUGINS)


@pytest.mark.parametrize(("pruner", "message"), [
    ({"pattern": "block 3x8"}, r"'block 3x8' does not fit .* not a multiple of 3; add it to"),
    ({"pattern": "2:7"}, r"'2:7' does not fit .* inputs, not a multiple of 7"),
    ({"pattern": "2:4", "sparsity": [0.4, 0.6]}, r"'2:4' leaves too few weights for level 2"),
])  # fmt: skip
def test_what_cannot_be_done_is_refused_before_anything_is_trained(tmp_path, pruner, message):
    with pytest.raises(SddError, match=message):
        go(small(pruner={"name": "imp", "exempt": ["output"], **pruner}), tmp_path)
    assert not (tmp_path / ".shared" / "levels").exists() or not list(
        (tmp_path / ".shared" / "levels").iterdir())


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(128, 10),
    )


@pytest.mark.parametrize("pruner", ["imp", "random", "snip", "grasp", "synflow", "wanda"])
@pytest.mark.parametrize("pattern", ["channel", "2:4", "block 2x4"])
def test_every_pruner_can_have_one(tmp_path, pruner, pattern):
    images, labels = torch.rand(60, 64), torch.arange(60) % 10
    exempt = ["1", "8"] if pattern != "channel" else ["8"]
    result = sdd_core.run(
        {"train": {"epochs": 1}}, store=tmp_path, device="cpu", levels=2,
        model=network(), data=((images[:40], labels[:40]), (images[40:], labels[40:])),
        pruner={"name": pruner, "pattern": pattern, "exempt": exempt, "scope": "layer",
                "sparsity": [0.25, 0.5]},
    )  # fmt: skip
    # Counts in groups: two or four of eight filters, and so on.
    assert [level.sparsity for level in result.levels] == [0.0, 0.25, 0.5]

import math

import numpy as np
import pytest
from results import descent, made

from sdd_core import SddError
from sdd_core.analysis.comparison import compare
from sdd_core.analysis.groups import group


def beside(one, other, first_seed=0):
    """Two groups, under noise of 0.2 and of 0.4; the seeds of the second begin at `first_seed`."""
    runs = [made(curve, settings={"seed": seed + start, "noise": {"rate": rate}})
            for rate, curves, start in ((0.2, one, 0), (0.4, other, first_seed))
            for seed, curve in enumerate(curves)]
    return group(runs)


def test_t_is_that_of_pairs_with_the_largest_variance_nearby():
    other = [[0.7] * 4] * 3
    one = [[0.71, 0.60, 0.70, 0.70], [0.72, 0.61, 0.71, 0.71], [0.73, 0.62, 0.72, 0.75]]
    found = compare(*beside(one, other))
    assert found.pairs == 3
    assert found.difference == pytest.approx((0.02, -0.09, 0.01, 0.02))
    # Variances 0.0001 three times and 0.0007, pooled over all four: 0.00025. The last level's own
    # is larger, and counts for its neighbour as well.
    error, last = math.sqrt(0.00025 / 3), math.sqrt(0.0007 / 3)
    assert found.t == pytest.approx((0.02 / error, -0.09 / error, 0.01 / last, 0.02 / last))


def test_pairs_take_away_what_a_seed_does_to_both():
    offsets = (-0.1, 0.0, 0.1)
    one = [[0.5 + by + 0.001 * k for k in range(6)] for by in offsets]
    other = [[0.5 + by + 0.001 * (k % 2) + 0.05 * (k > 2) for k in range(6)] for by in offsets]
    assert compare(*beside(one, other)).signs[3:] == (-1, -1, -1)
    # The same curves of other seeds differ by no more than the seeds do.
    apart = compare(*beside(one, other, first_seed=3))
    assert apart.pairs == 0
    assert apart.signs == (0,) * 6


def test_a_group_can_lose_and_win():
    wobble = [0.001, -0.001, 0.0]
    one = [[value + by for value in (0.5, 0.5, 0.9, 0.9, 0.5, 0.5)] for by in wobble]
    other = [[0.7 - by] * 6 for by in wobble]
    assert compare(*beside(one, other)).verdict == (
        "noise 0.2 loses to noise 0.4 between 0.0 % and 20.0 % and between 59.0 % and 67.2 %, "
        "and beats noise 0.4 between 36.0 % and 48.8 %"
    )


def test_groups_that_are_alike_are_said_to_be():
    same = [[0.5, 0.6], [0.6, 0.7], [0.7, 0.8]]
    assert compare(*beside(same, same)).verdict == (
        "noise 0.2 and noise 0.4 do not differ by more than chance in test_accuracy"
    )


@pytest.mark.parametrize("seeds", [(1, 3), (3, 1), (2, 2)])
def test_fewer_than_three_seeds_cannot_be_compared(seeds):
    one, other = ([[level, level] for _ in range(n)]
                  for level, n in zip((0.5, 0.9), seeds, strict=True))
    found = compare(*beside(one, other))
    assert "cannot be compared: it takes 3 seeds of each" in found.verdict
    assert set(found.signs) == {0}


def test_levels_that_some_seed_has_not_are_not_compared():
    other = [[0.9, 0.9, 0.9]] * 3
    one = [[0.5, 0.5, math.nan], [0.51, 0.5, 0.5], [0.52, 0.51, 0.5]]
    assert compare(*beside(one, other)).signs == (-1, -1, 0)


def test_groups_are_compared_where_their_sparsities_agree():
    runs = [made([0.5] * 3, sparsity=sparsity, settings={"pruner": pruner})
            for pruner, sparsity in (("imp", [0.0, 0.5, 0.9]), ("random", [0.0, 0.7, 0.901]))]
    assert compare(*group(runs)).sparsity == (0.0, 0.9)
    runs = [made([0.5], sparsity=[place], settings={"pruner": pruner})
            for pruner, place in (("imp", 0.0), ("random", 0.9))]
    with pytest.raises(SddError, match="no sparsity in common"):
        compare(*group(runs))


def test_labels_lose_what_both_groups_share():
    runs = [descent(settings={"retrain": retrain, "noise": {"rate": rate}})
            for retrain in ("rewind", "scratch") for rate in (0.2, 0.4)]
    found = compare(group(runs)[0], group(runs)[2])
    assert (found.one, found.other) == ("retrain rewind", "retrain scratch")


@pytest.mark.parametrize("common", [True, False], ids=["in pairs", "by means"])
@pytest.mark.parametrize("rho", [0.0, 0.9])
def test_equal_groups_seldom_differ(common, rho):
    """A quick version of benchmarks/verdicts.py: 5 of 100 are expected."""
    rng = np.random.default_rng(0)
    truth = np.interp(range(20), [0, 8, 19], [0.8, 0.7, 0.9])
    settings = [made(truth, settings={"seed": seed, "noise": {"rate": rate}}).experiment
                for rate, seeds in ((0.2, range(3)), (0.4, range(3) if common else range(3, 6)))
                for seed in seeds]
    base = made(truth)
    false = 0
    for _ in range(100):
        noise = rng.standard_normal((6, 20))
        for level in range(1, 20):
            noise[:, level] *= math.sqrt(1 - rho**2)
            noise[:, level] += rho * noise[:, level - 1]
        false += any(compare(*group(
            with_curve(base, experiment, truth + 0.01 * one)
            for experiment, one in zip(settings, noise, strict=True)
        )).signs)
    # Above 13 with a probability of 0.0005 if 5 are expected.
    assert false <= 13


def with_curve(result, experiment, curve):
    from dataclasses import replace

    levels = tuple(replace(level, metrics={"test_accuracy": value})
                   for level, value in zip(result.levels, curve.tolist(), strict=True))
    return replace(result, experiment=experiment, levels=levels)


@pytest.mark.parametrize("other", [[[math.nan] * 3] * 3, [[math.nan, 0.9, math.nan]] * 3])
def test_without_common_values_nothing_is_compared(other):
    one = [[0.8, math.nan, 0.8]] * 3
    found = compare(*beside(one, other))
    assert found.verdict == ("noise 0.2 and noise 0.4 cannot be compared: they have no "
                             "test_accuracy at a common level")
    assert found.signs == (0, 0, 0)


def test_equal_groups_do_not_differ():
    curves = [[0.8, 0.9, 0.8]] * 3
    assert "do not differ by more than chance" in compare(*beside(curves, curves)).verdict

import math

import pytest
from results import descent, made

from sdd_core import SddError
from sdd_core.analysis.comparison import compare
from sdd_core.analysis.findings import Findings
from sdd_core.analysis.groups import group

FALLS_TWICE = [0.70, 0.71, 0.71, 0.60, 0.59, 0.79, 0.80, 0.40, 0.30]


def several(curves, **settings):
    """A group with one seed for each curve."""
    (one,) = group(made(curve, settings={**settings, "seed": seed})
                   for seed, curve in enumerate(curves))
    return one


def beside(one, other):
    """Two groups, under noise of 0.2 and of 0.4."""
    runs = [made(curve, settings={"seed": seed, "noise": {"rate": rate}})
            for rate, curves in ((0.2, one), (0.4, other)) for seed, curve in enumerate(curves)]
    return group(runs)


def test_seeds_that_agree_leave_no_uncertainty():
    found = Findings(several([FALLS_TWICE] * 3))
    at, height = found.valley
    assert (at.value, at.low, at.high) == pytest.approx((1 - 0.8**4,) * 3)
    # Medians of three at level 4: of 0.60, 0.59 and 0.79.
    assert (height.value, height.low, height.high) == pytest.approx((0.6,) * 3)
    at, height = found.peak
    assert (at.value, at.low, at.high) == pytest.approx((1 - 0.8**6,) * 3)
    assert height.value == pytest.approx(0.79)
    assert found.verdict == (
        "sparse double descent: valley 0.600 (0.600 to 0.600) at 59.0 % (59.0 % to 59.0 %), "
        "peak 0.790 (0.790 to 0.790) at 73.8 % (73.8 % to 73.8 %), dense 0.700 "
        "(over 3 seeds, 3 of which show it alone)"
    )


def test_an_interval_spans_what_resampled_seeds_show():
    low, high = ([value + by for value in FALLS_TWICE] for by in (-0.02, 0.02))
    found = Findings(several([low, high]))
    height = found.valley[1]
    # Of two seeds a quarter of the draws takes the lower one twice, and as many the higher.
    assert (height.low, height.value, height.high) == pytest.approx((0.58, 0.60, 0.62))


def test_one_seed_has_no_interval_and_says_so():
    found = Findings(several([FALLS_TWICE]))
    assert found.valley[1].value == pytest.approx(0.6)
    assert (found.valley[1].low, found.valley[1].high) == (None, None)
    assert found.verdict.endswith("(one seed, so without intervals)")
    assert "valley 0.600 at 59.0 %, peak 0.790 at 73.8 %" in found.verdict


def test_the_same_runs_give_the_same_intervals():
    curves = [FALLS_TWICE, [value + 0.01 for value in FALLS_TWICE], FALLS_TWICE]
    assert Findings(several(curves)).valley == Findings(several(curves)).valley


def test_without_double_descent_there_is_no_valley():
    found = Findings(several([[0.9] * 6] * 2))
    assert (found.valley, found.peak) == (None, None)
    assert found.verdict.startswith("no double descent: ")
    assert found.verdict.endswith("(over 2 seeds)")


def test_phases_reach_as_far_as_in_the_seeds_they_differ_most_in():
    later = [0.70, 0.71, 0.71, 0.71, 0.60, 0.59, 0.79, 0.80, 0.30]
    found = Findings(several([FALLS_TWICE, later, [0.7] * 9]))
    assert found.phases.double_descent
    critical = found.reaches["critical"]
    assert critical.seeds == 2
    assert critical.first == pytest.approx((1 - 0.8**3, 1 - 0.8**4))
    assert critical.last == pytest.approx((1 - 0.8**4, 1 - 0.8**5))
    assert found.reaches["light"].seeds == 3
    assert found.reaches["light"].last == pytest.approx((1 - 0.8**2, 1 - 0.8**8))


@pytest.mark.parametrize(
    ("train", "level"),
    [
        ([1.0, 1.0, 0.995, 0.98, 0.5], 3),
        # 0.99 times the highest, 0.90, is 0.891
        ([0.80, 0.90, 0.892, 0.890, 0.5], 3),
        ([1.0, 0.98, 1.0, 0.99, 0.98], 1),
        ([1.0] * 5, None),
        ([0.5, 0.6, 0.7, 0.8, 0.9], None),
        ([math.nan] * 5, None),
    ],
)
def test_the_interpolation_threshold_is_where_training_accuracy_first_drops(train, level):
    (one,) = group([made([0.9] * 5, train_accuracy=train)])
    threshold = Findings(one).interpolation_threshold
    if level is None:
        assert threshold is None
    else:
        assert threshold.value == pytest.approx(1 - 0.8**level)
        assert threshold.low is None


def test_the_interpolation_threshold_has_an_interval_over_seeds():
    trains = ([1.0, 1.0, 0.9, 0.8, 0.7], [1.0, 1.0, 1.0, 1.0, 0.7])
    (one,) = group(made([0.9] * 5, train_accuracy=train, settings={"seed": seed})
                   for seed, train in enumerate(trains))
    threshold = Findings(one).interpolation_threshold
    assert threshold.value == pytest.approx(1 - 0.8**2)
    assert (threshold.low, threshold.high) == pytest.approx((1 - 0.8**2, 1 - 0.8**4))


def test_two_groups_differ_where_means_are_two_standard_errors_apart():
    one = [[0.50, 0.60, 0.60, 0.70, 0.80], [0.52, 0.62, 0.62, 0.72, 0.82]]
    other = [[0.50, 0.70, 0.71, 0.70, 0.70], [0.52, 0.72, 0.73, 0.72, 0.72]]
    found = compare(*beside(one, other))
    assert found.difference == pytest.approx((0, -0.10, -0.11, 0, 0.10))
    # Each group's deviation is sqrt(0.0002), its error 0.01; that of the difference sqrt(2) times.
    assert found.error == pytest.approx((0.01 * math.sqrt(2),) * 5)
    assert found.signs == (0, -1, -1, 0, 1)
    # The last level stands alone, which may be chance.
    assert found.verdict == "noise 0.2 loses to noise 0.4 between 20.0 % and 36.0 %"


def test_a_group_can_lose_and_win():
    one = [[0.5, 0.5, 0.9, 0.9, 0.5, 0.5]] * 2
    other = [[0.7, 0.7, 0.7, 0.7, 0.7, 0.7]] * 2
    assert compare(*beside(one, other)).verdict == (
        "noise 0.2 loses to noise 0.4 between 0.0 % and 20.0 % and between 59.0 % and 67.2 %, "
        "and beats noise 0.4 between 36.0 % and 48.8 %"
    )


def test_groups_that_are_alike_are_said_to_be():
    same = [[0.5, 0.6], [0.6, 0.7]]
    assert compare(*beside(same, same)).verdict == (
        "noise 0.2 and noise 0.4 do not differ by more than chance in test_accuracy"
    )


def test_one_seed_cannot_be_compared():
    assert "it takes two seeds" in compare(*beside([[0.5, 0.6]], [[0.9, 0.9]] * 2)).verdict


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

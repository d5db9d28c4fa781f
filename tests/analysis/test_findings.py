import math
from dataclasses import replace

import pytest
from results import made

from sdd_core.analysis.findings import Findings
from sdd_core.analysis.groups import group

FALLS_TWICE = [0.70, 0.71, 0.71, 0.60, 0.59, 0.79, 0.80, 0.40, 0.30]


def several(curves, **settings):
    """A group with one seed for each curve."""
    (one,) = group(made(curve, settings={**settings, "seed": seed})
                   for seed, curve in enumerate(curves))
    return one


def test_seeds_that_agree_leave_no_uncertainty():
    found = Findings(several([FALLS_TWICE] * 3))
    at, height = found.valley
    assert (at.value, at.low, at.high) == pytest.approx((1 - 0.8**4,) * 3)
    assert (height.value, height.low, height.high) == pytest.approx((0.59,) * 3)
    at, height = found.peak
    assert (at.value, at.low, at.high) == pytest.approx((1 - 0.8**6,) * 3)
    assert height.value == pytest.approx(0.80)
    assert found.verdict == (
        "sparse double descent: valley 0.590 (0.590 to 0.590) at 59.0 % (59.0 % to 59.0 %), "
        "peak 0.800 (0.800 to 0.800) at 73.8 % (73.8 % to 73.8 %), dense 0.700 "
        "(over 3 seeds; seen in 3 of them alone)"
    )


def test_valley_and_peak_are_accuracies_of_levels():
    curves = [[value + by for value in FALLS_TWICE] for by in (-0.02, 0.0, 0.02)]
    found = Findings(several(curves))
    mean = found.group.statistics("test_accuracy").mean
    assert found.valley[1].value == mean[found.phases.valley]
    assert found.peak[1].value == mean[found.phases.peak]
    for at, height in (found.valley, found.peak):
        assert at.low <= at.value <= at.high
        assert height.low < height.value < height.high


@pytest.mark.parametrize("seeds", [1, 2])
def test_few_seeds_have_no_interval_and_say_so(seeds):
    found = Findings(several([FALLS_TWICE] * seeds))
    assert found.valley[1].value == pytest.approx(0.59)
    assert (found.valley[1].low, found.valley[1].high) == (None, None)
    assert ("too few for intervals" if seeds == 2 else "so without intervals") in found.verdict
    assert "valley 0.590 at 59.0 %, peak 0.800 at 73.8 %" in found.verdict


def test_a_level_that_a_seed_has_not_has_no_interval():
    gap = [*FALLS_TWICE]
    gap[4] = math.nan
    found = Findings(several([FALLS_TWICE, FALLS_TWICE, gap]))
    assert found.phases.valley == 4
    assert found.valley[1].value == pytest.approx(0.59)
    assert found.valley[1].low is None


def test_the_same_runs_give_the_same_intervals():
    curves = [FALLS_TWICE, [value + 0.01 for value in FALLS_TWICE], FALLS_TWICE]
    assert Findings(several(curves)).valley == Findings(several(curves)).valley


def test_without_double_descent_there_is_no_valley():
    found = Findings(several([[0.9] * 6] * 3))
    assert (found.valley, found.peak) == (None, None)
    assert found.verdict.startswith("no double descent up to 67.2 %: ")
    assert found.verdict.endswith("(over 3 seeds)")


def test_phases_reach_as_far_as_in_the_seeds_they_differ_most_in():
    early = [0.70, 0.71, 0.70, 0.60, 0.59, 0.60, 0.79, 0.80, 0.40, 0.30]
    later = [0.70, 0.71, 0.71, 0.71, 0.60, 0.59, 0.60, 0.80, 0.79, 0.30]
    found = Findings(several([early, later] * 5))
    assert found.phases.double_descent
    critical = found.reaches["critical"]
    assert critical.seeds == 10
    assert critical.first == pytest.approx((1 - 0.8**3, 1 - 0.8**4))
    assert critical.last == pytest.approx((1 - 0.8**5, 1 - 0.8**6))
    assert found.reaches["light"].last == pytest.approx((1 - 0.8**2, 1 - 0.8**3))


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
    trains = ([1.0, 1.0, 0.9, 0.8, 0.7], [1.0, 1.0, 1.0, 1.0, 0.7], [1.0, 1.0, 0.95, 0.9, 0.7])
    (one,) = group(made([0.9] * 5, train_accuracy=train, settings={"seed": seed})
                   for seed, train in enumerate(trains))
    threshold = Findings(one).interpolation_threshold
    assert threshold.value == pytest.approx(1 - 0.8**2)
    assert threshold.low <= threshold.value < threshold.high


def test_what_does_not_count_is_said():
    full, short = [0.9] * 10, [0.9] * 6

    def verdict(*curves):
        (runs,) = group(made(curve, settings={"seed": seed, "levels": 9})
                        for seed, curve in enumerate(curves))
        return Findings(runs).verdict

    assert verdict(full, full, short).endswith(
        " (over 3 seeds; only the 6 of 10 levels that every seed has reached)")
    assert verdict(full, full, [math.nan] * 10).endswith(
        " (over 3 seeds, 1 of them without test accuracy, too few for intervals)")
    assert verdict(full, full, full).endswith(" (over 3 seeds)")


def test_a_seed_without_any_value_takes_no_interval_from_the_others():
    curves = [[value + by for value in FALLS_TWICE] for by in (-0.02, 0.0, 0.01, 0.02)]
    silent = [math.nan] * len(FALLS_TWICE)
    counted, with_silent = Findings(several(curves)), Findings(several([*curves, silent]))
    assert counted.valley[1].low < counted.valley[1].high
    assert with_silent.valley == counted.valley
    assert with_silent.peak == counted.peak


def test_a_valley_without_a_dense_network_names_none():
    curve = [math.nan, 0.71, 0.7, 0.6, 0.59, 0.8, 0.81, 0.4, 0.3]
    (runs,) = group([made(curve)])
    found = Findings(runs)
    assert found.valley is not None
    assert "dense" not in found.verdict
    assert "nan" not in found.verdict


def test_a_network_that_learned_nothing_has_no_interpolation_threshold():
    train = [0.1, 0.101, 0.1, 0.098, 0.1, 0.1, 0.1, 0.1, 0.1]

    def threshold(train):
        (runs,) = group([replace(made([0.1] * 9, train_accuracy=train), classes=10)])
        return Findings(runs).interpolation_threshold

    assert threshold(train) is None
    assert threshold([0.5 + value for value in train[:3]] + [0.3] * 6) is not None

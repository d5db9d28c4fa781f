import math

import pytest
from results import made

from sdd_core.analysis.groups import group
from sdd_core.analysis.recommendation import (
    by_learning_distance,
    by_test_accuracy,
    check_learning_distance,
    rank_correlation,
)

FALLS_TWICE = [0.70, 0.71, 0.71, 0.60, 0.59, 0.79, 0.80, 0.40, 0.30]


def one_group(*curves, **metrics):
    (one,) = group(made(curve, settings={"seed": seed}, **metrics)
                   for seed, curve in enumerate(curves))
    return one


def test_with_a_test_set_it_is_the_sparsest_level_within_one_standard_error():
    # The best level, 2, has a mean of 0.9 and an error of sqrt(0.0002 / 2) = 0.01.
    advice = by_test_accuracy(one_group([0.80, 0.85, 0.89, 0.88, 0.80],
                                        [0.80, 0.85, 0.91, 0.90, 0.80]))
    assert advice.level == 3
    assert advice.sparsity == pytest.approx(1 - 0.8**3)
    assert advice.accuracy == pytest.approx(0.89)
    assert "one standard error (0.010) of the best mean test accuracy, 0.900" in advice.why


def test_with_one_seed_the_standard_error_is_the_test_sets():
    # sqrt(0.9 * 0.1 / 10,000) is 0.003
    assert by_test_accuracy(one_group([0.8, 0.9, 0.8975, 0.8965])).level == 2


def test_levels_that_diverged_are_not_recommended():
    assert by_test_accuracy(one_group([0.8, 0.8, math.nan])).level == 1
    assert by_test_accuracy(one_group([math.nan])) is None


def test_without_a_test_set_it_is_where_the_decline_of_the_distance_slackens():
    # Equal steps in the logarithm of density; the line from 20 at level 2 to 9.8 at level 8.
    distance = [16.0, 18.0, 20.0, 20.0, 16.0, 12.0, 10.0, 9.9, 9.8]
    advice = by_learning_distance(one_group(FALLS_TWICE, learning_distance=distance))
    # Medians of three leave 20 20 16 12 10 9.9 9.8 from level 2 on; below the line they lie by
    # 0, -1.7, 0.6, 2.9, 3.2, 1.6 and 0.
    assert advice.level == 6
    assert advice.accuracy == 0.80
    assert "from its peak at 36.0 % slackens" in advice.why


def test_a_decline_that_goes_on_asks_for_sparser_levels():
    distance = [16.0, 18.0, 20.0, 20.0, 19.0, 18.0, 16.0, 13.0, 10.0]
    advice = by_learning_distance(one_group(FALLS_TWICE, learning_distance=distance))
    assert advice.level == 8
    assert "still declines" in advice.why


def test_a_distance_that_does_not_decline_leaves_it_to_training_accuracy():
    advice = by_learning_distance(one_group(
        [0.9] * 5, learning_distance=[1.0, 2.0, 3.0, 4.0, 3.9],
        train_accuracy=[1.0, 1.0, 0.995, 0.99, 0.98],
    ))
    assert advice.level == 3
    assert "does not decline" in advice.why


def test_without_a_distance_there_is_no_advice():
    assert by_learning_distance(one_group([0.9] * 5)) is None


def test_the_advice_is_checked_against_what_test_accuracy_says():
    distance = [16.0, 18.0, 20.0, 20.0, 16.0, 12.0, 10.0, 9.9, 9.8]
    late = [16.0, 18.0, 20.0, 21.0, 22.0, 23.0, 23.0, 18.0, 10.0]
    runs = [
        made(FALLS_TWICE, run="good", learning_distance=distance),
        made(FALLS_TWICE, run="bad", learning_distance=late),
        made([0.9] * 9, run="no double descent", learning_distance=distance),
        made(FALLS_TWICE, run="no distance"),
    ]
    check = check_learning_distance(runs)
    good, bad = check.predictions
    assert check.left_out == 2
    assert (good.run, good.valley, good.distance_peak, good.recommended) == ("good", 4, 2, 6)
    assert good.in_sweet_phase
    assert good.shortfall == pytest.approx(0.0)
    assert (bad.run, bad.distance_peak, bad.recommended) == ("bad", 5, 8)
    assert not bad.in_sweet_phase
    assert bad.shortfall == pytest.approx(0.5)
    assert "over 2 runs" in check.verdict
    # Two runs have no rank correlation, and none is named.
    assert "peaks 1.5 levels from the valley (mean; -2 to +1); the level" in check.verdict
    assert "in the sweet phase in 1 of 2, 0.250 below the best accuracy" in check.verdict


def test_nothing_to_check_is_said():
    assert "nothing to predict" in check_learning_distance([made([0.9] * 3)]).verdict


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ([(1, 10), (2, 20), (3, 30)], 1.0),
        ([(1, 30), (2, 20), (3, 10)], -1.0),
        # ranks 1 2 3 4 5 and 2 1 4 3 5: 1 - 6 * 4 / (5 * 24)
        ([(1, 2), (2, 1), (3, 4), (4, 3), (5, 5)], 0.8),
        # a tie: ranks 1, 2.5, 2.5, 4 and 1, 2, 3, 4
        ([(1, 1), (2, 2), (2, 3), (9, 4)], 4.5 / math.sqrt(4.5 * 5)),
    ],
)
def test_rank_correlation(pairs, expected):
    assert rank_correlation(pairs) == pytest.approx(expected)


@pytest.mark.parametrize("pairs", [[], [(1, 1), (2, 2)], [(1, 5), (2, 5), (3, 5)]])
def test_rank_correlation_of_too_little_is_no_number(pairs):
    assert math.isnan(rank_correlation(pairs))

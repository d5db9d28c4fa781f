import math

import pytest
from results import made

from sdd_core.analysis.groups import group
from sdd_core.analysis.recommendation import (
    by_learning_distance,
    by_test_accuracy,
    recommend,
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
    assert "one standard error (0.010) of the best, 0.900" in advice.why


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


def test_collapsed_levels_are_not_recommended():
    """Their distance declines too, but they have forgotten their training set."""
    distance = [10.0, 20.0, 20.0, 19.5, 19.0, 16.0, 12.0, 4.0, 1.0, 0.5, 0.2]
    train = [1.0, 1.0, 1.0, 1.0, 0.9, 0.7, 0.6, 0.4, 0.2, 0.1, 0.1]
    curve = [0.7, 0.7, 0.7, 0.6, 0.6, 0.8, 0.8, 0.4, 0.2, 0.1, 0.1]
    assert by_learning_distance(
        one_group(curve, learning_distance=distance, train_accuracy=train)).level == 6
    assert by_learning_distance(one_group(curve, learning_distance=distance)).level > 6


def test_one_sparsity_is_recommended_by_test_accuracy_where_there_is_one():
    distance = [16.0, 18.0, 20.0, 20.0, 16.0, 12.0, 10.0, 9.9, 9.8]
    both = one_group(FALLS_TWICE, learning_distance=distance)
    assert recommend(both).level == by_test_accuracy(both).level == 6
    assert recommend(both).said == (
        "73.8 % sparsity: test accuracy 0.800, within one standard error (0.004) of the best, "
        "0.800; dense 0.700"
    )


def test_where_the_learning_distance_would_have_cost_accuracy_it_is_said():
    late = [16.0, 18.0, 20.0, 21.0, 22.0, 23.0, 23.0, 18.0, 10.0]
    advice = recommend(one_group(FALLS_TWICE, learning_distance=late))
    assert advice.level == 6
    assert advice.said.endswith("the learning distance alone would say 83.2 %, where it is 0.300")


def test_without_a_test_accuracy_the_learning_distance_recommends():
    distance = [16.0, 18.0, 20.0, 20.0, 16.0, 12.0, 10.0, 9.9, 9.8]
    runs = one_group([math.nan] * 9, learning_distance=distance)
    assert recommend(runs) is None  # diverged: nothing was measured
    assert recommend(one_group([0.9] * 9)).level == 8

import math
from dataclasses import replace

import pytest
from results import made

from sdd_core import SddError
from sdd_core.analysis.groups import group
from sdd_core.analysis.recommendation import (
    by_learning_distance,
    by_test_accuracy,
    recommend,
    recommended,
    why_none,
    with_recommendation,
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
    assert recommend(runs) is None
    assert why_none(runs) == "training diverged at every level"
    assert recommend(one_group([0.9] * 9)).level == 8


def costs(macs, packed, dense=(1000.0, 4000.0)):
    """The curves of a cost."""
    return {"kept_macs": macs, "packed_bytes": packed,
            "dense_macs": [dense[0]] * len(macs), "dense_bytes": [dense[1]] * len(packed)}


def test_what_a_level_saves_is_said_first():
    macs, packed = [1000.0, 500.0, 70.0, 10.0], [4100.0, 2100.0, 360.0, 60.0]
    advice = recommend(one_group([0.85, 0.86, 0.881, 0.6], **costs(macs, packed)))
    assert advice.level == 2
    assert (advice.fewer_macs, advice.smaller) == (pytest.approx(1000 / 70),
                                                   pytest.approx(4000 / 360))
    assert advice.gain == pytest.approx(0.031)
    assert advice.price == "14x fewer MACs, 11x smaller, +3.1 points"
    assert advice.said == ("36.0 % sparsity: 14x fewer MACs, 11x smaller, +3.1 points; "
                           f"{advice.why}")
    assert len(f"recommended: {advice.said.partition(';')[0]}") <= 80


@pytest.mark.parametrize(("curve", "macs", "packed", "price"), [
    ([0.9, 0.5], [1000.0, 500.0], [4100.0, 2100.0], ""),  # the dense network saves nothing
    ([0.9, 0.9], [1000.0, 500.0], [4100.0, 2100.0], "2.0x fewer MACs, 1.9x smaller, +0.0 points"),
    ([0.9, 0.89999], [1000.0, 80.5], [4100.0, 1.0],
     "12x fewer MACs, 4,000x smaller, +0.0 points"),
    ([0.9, 0.899], [1000.0, 990.0], [4100.0, 2000.0], "2.0x smaller, -0.1 points"),
    ([math.nan, 0.9], [1000.0, 500.0], [4100.0, 2000.0], "2.0x fewer MACs, 2.0x smaller"),
    ([0.9, 0.9], [1000.0, 0.0], [4100.0, 2000.0], "2.0x smaller, +0.0 points"),
    ([0.9, 0.9], [math.nan] * 2, [math.nan] * 2, ""),  # not measured
])  # fmt: skip
def test_only_what_was_measured_and_is_saved_is_said(curve, macs, packed, price):
    advice = recommend(one_group(curve, **costs(macs, packed)))
    assert advice.price == price
    if not price:
        assert advice.said.startswith(f"{advice.sparsity * 100:.1f} % sparsity: test accuracy")


def test_advice_by_learning_distance_has_a_price_too():
    distance = [16.0, 18.0, 20.0, 20.0, 16.0, 12.0, 10.0, 9.9, 9.8]
    macs = [1000 * 0.8**level for level in range(9)]
    runs = one_group(FALLS_TWICE, learning_distance=distance, **costs(macs, macs))
    assert by_learning_distance(runs).price == "3.8x fewer MACs, 15x smaller, +10.0 points"


def test_another_axis_decides_what_is_saved():
    # Level 2 is sparser, level 1 has fewer multiply-adds: convolutions use a weight more often.
    runs = one_group([0.9, 0.9, 0.9, 0.5], kept_macs=[9.0, 2.0, 3.0, 1.0],
                     accuracy_like=[0.1, 0.2, 0.15, 0.4])
    assert recommend(runs).level == 2
    assert recommend(runs, "macs").level == 1
    assert recommend(runs, x="kept_macs").level == 1
    assert recommend(runs, "accuracy_like").level == 1  # pruning makes it grow
    with pytest.raises(SddError, match="no 'packed_bytes'"):
        recommend(runs, "bytes")


def test_the_knee_of_the_distance_is_looked_for_over_the_axis():
    distance = [16.0, 18.0, 20.0, 20.0, 16.0, 12.0, 10.0, 9.9, 9.8]
    macs = [100.0, 90.0, 80.0, 70.0, 60.0, 50.0, 40.0, 39.9, 2.0]
    over = one_group(FALLS_TWICE, learning_distance=distance, kept_macs=macs)
    # Levels 6 and 7 have nearly the same place, so that the lower distance of level 7 decides.
    assert by_learning_distance(over, "macs").level == 7
    assert by_learning_distance(over).level == 6
    equal = one_group(FALLS_TWICE, learning_distance=distance, kept_macs=[1.0] * 9)
    assert by_learning_distance(equal, "macs").level == 8  # all at one place: the lowest


def of_ten_classes(*curves, **metrics):
    """A group of runs on ten classes."""
    (one,) = group(replace(made(curve, settings={"seed": seed}, **metrics), classes=10)
                   for seed, curve in enumerate(curves))
    return one


@pytest.mark.parametrize("curves", [
    [[0.1] * 9], [[0.0] * 9], [[0.05, 0.1, 0.105]], [[0.1]], [[0.1, math.nan]],
    [[0.1] * 9, [0.11] * 9, [0.09] * 9],
])  # fmt: skip
def test_where_nothing_was_learned_no_sparsity_is_recommended(capsys, curves):
    levels = len(curves[0])
    runs = of_ten_classes(*curves, learning_distance=[float(k) for k in range(levels)],
                          train_accuracy=[1.0] * levels)
    assert recommend(runs) is by_test_accuracy(runs) is by_learning_distance(runs) is None
    assert recommended(runs).startswith("no sparsity, because nothing was learned: at no level is "
                                        "test accuracy (at most 0.")
    assert with_recommendation(runs.results[0]).recommended.level == 0
    assert "nothing was learned: " in (said := capsys.readouterr().err)
    assert "no sparsity is recommended, so its densest trained network is taken" in said


def test_without_a_test_set_the_training_set_tells_whether_anything_was_learned():
    def runs(train):
        found = of_ten_classes([0.0] * 5, train_accuracy=train,
                               learning_distance=[1.0, 2.0, 3.0, 4.0, 3.9])
        for level in found.results[0].levels:
            del level.metrics["test_accuracy"]
        return found

    assert recommend(runs([0.9] * 5)).level == 4
    assert recommended(runs([0.1] * 5)).startswith(
        "no sparsity, because nothing was learned: at no level is train accuracy (at most 0.100)")


def test_what_most_examples_are_is_not_learned():
    run = replace(made([0.9] * 9), classes=2, guessing=0.9)
    assert recommend(group([run])[0]) is None
    assert recommend(group([replace(run, guessing=0.5)])[0]).level == 8


@pytest.mark.parametrize(("curves", "level", "said"), [
    # The mean of the better two seeds alone is higher, which is not what pruning does.
    ([[0.8] * 3, [0.9] * 6, [0.9] * 6], 2, "; 3 levels that some seeds have not reached, or "
     "diverged at, do not count"),
    ([[0.9] * 6, [0.9] * 3 + [math.nan] + [0.9] * 2], 5, "; 1 level that some seeds have not "
     "reached, or diverged at, does not count"),
    ([[0.9] * 3 + [0.8] * 3, [0.9] * 3 + [0.1, math.nan, 0.1]], 2, "; 1 level that"),
    ([[0.9] * 6, [0.9] * 6], 5, "dense 0.900"),
    ([[0.9] * 6, [math.nan] * 6], 5, "dense 0.900"),
])  # fmt: skip
def test_levels_count_that_every_seed_has(curves, level, said):
    advice = recommend(of_ten_classes(*curves))
    assert advice.level == level
    assert said in advice.why
    assert ("do not count" in advice.why or "does not count" in advice.why) is ("level" in said)


def test_a_dense_network_of_which_a_seed_diverged_is_not_compared_with():
    advice = recommend(of_ten_classes([math.nan, 0.9, 0.9], [0.8, 0.8, 0.8]))
    assert math.isnan(advice.gain)
    assert "dense" not in advice.why


def test_no_level_of_every_seed():
    runs = of_ten_classes([0.9, math.nan], [math.nan, 0.9])
    assert recommended(runs) == "no sparsity, because no level has a test accuracy of every seed"

import math

import pytest
from results import made

from sdd_core.analysis.prediction import check_learning_distance, rank_correlation

FALLS_TWICE = [0.70, 0.71, 0.71, 0.60, 0.59, 0.79, 0.80, 0.40, 0.30]


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
    assert check.verdict.startswith(
        "single runs with double descent and a learning distance: 2 of 4; the distance peaks 1.5 ")
    # Two runs have no rank correlation, and none is named.
    assert "peaks 1.5 levels from the valley (mean; -2 to +1); the level" in check.verdict
    # Below the best, 0.80 and 0.90: recommended 0.80, 0.30 and 0.90; level 8 0.30, 0.30 and 0.90;
    # level 0 0.70, 0.70 and 0.90.
    assert check.runs == 3
    assert check.shortfalls == pytest.approx(
        {"by learning distance": 0.5 / 3, "always 99.5 %": 1 / 3, "never pruned": 0.2 / 3})
    assert check.verdict.endswith(
        "in the sweet phase in 1 of 2; below the best accuracy, mean of 3 runs: "
        "by learning distance 0.167, always 99.5 % 0.333, never pruned 0.067")


def test_nothing_to_check_is_said():
    check = check_learning_distance([made([0.9] * 3)])
    assert "no run with double descent and a learning distance" in check.verdict


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

"""Phases of curves that were made by hand, and of curves that chance made."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sdd_core.phases import find_phases

LEVELS = 26
SPARSITY = [1 - 0.8**level for level in range(LEVELS)]
NAN = math.nan


def descend_twice(levels: int = LEVELS) -> np.ndarray:
    """0.70 to level 4, down to 0.60 at level 10, up to 0.90 at level 20, then down by 0.1 each."""
    return np.interp(range(levels), [0, 4, 10, 20, 23, 25], [0.7, 0.7, 0.6, 0.9, 0.6, 0.4])


def measured(curve: np.ndarray, test_examples: int, seed: int) -> list[float]:
    """The accuracies that a test set of `test_examples` would show."""
    draws = np.random.default_rng(seed).binomial(test_examples, np.clip(curve, 0, 1))
    return (draws / test_examples).tolist()


def covered(phases, levels: int) -> list[int]:
    """The levels of all phases, in the order of the phases."""
    assert len(phases.named()) <= 4
    return [k for first, last in phases.named().values() for k in range(first, last + 1)]


def test_double_descent_is_cut_where_the_rule_says():
    # one standard error at 0.7 is 0.0046, at 0.9 it is 0.003
    phases = find_phases(SPARSITY, descend_twice().tolist(), 10_000)
    assert phases.double_descent
    assert phases.named() == {
        "light": (0, 4), "critical": (5, 10), "sweet": (11, 20), "collapsed": (21, 25),
    }
    # A median of three takes the tip off a valley and off a peak.
    assert (phases.valley, phases.peak) == (10, 20)
    assert phases.verdict == (
        "sparse double descent: test accuracy 0.700 dense, valley 0.617 at 89.3 %, "
        "peak 0.870 at 98.8 % sparsity"
    )


def test_double_descent_that_is_not_deep_enough_for_its_test_set_is_chance():
    # 0.1 deep; sqrt(3 ln 26) sqrt(0.617 * 0.383 / n) is 0.09 at n = 280 and 0.17 at n = 80
    curve = descend_twice().tolist()
    assert find_phases(SPARSITY, curve, 400).double_descent
    assert not find_phases(SPARSITY, curve, 80).double_descent
    assert not find_phases(SPARSITY, curve, 10_000, standard_error=0.05).double_descent


def test_no_collapse_while_the_curve_still_rises():
    phases = find_phases(SPARSITY[:21], descend_twice()[:21].tolist(), 10_000)
    assert phases.sweet == (11, 20)
    assert phases.collapsed is None


@pytest.mark.parametrize(
    ("curve", "named", "said"),
    [
        ([0.9] * 6, {"light": (0, 5)}, "stays near 0.900 up to 67.2 %"),
        ([0.5, 0.6, 0.7, 0.8, 0.9, 0.95], {"light": (0, 5)}, "rises from 0.500 to 0.950 at 67.2 %"),
        ([0.9, 0.9, 0.9, 0.7, 0.5, 0.3], {"light": (0, 2), "collapsed": (3, 5)},
         "stays near 0.900 up to 36.0 % sparsity, then falls to 0.300 at 67.2 %"),
        ([0.9, 0.8, 0.7, 0.6, 0.5, 0.4], {"light": (0, 0), "collapsed": (1, 5)},
         "stays near 0.900 up to 0.0 % sparsity, then falls to 0.400"),
        ([0.5, 0.7, 0.9, 0.9, 0.6, 0.1], {"light": (0, 3), "collapsed": (4, 5)},
         "rises from 0.500 to 0.900 at 36.0 % sparsity without falling first, then falls to 0.100"),
        ([0.1] * 6, {"light": (0, 5)}, "stays near 0.100"),
        # one odd level is no valley
        ([0.9, 0.9, 0.1, 0.9, 0.9, 0.9], {"light": (0, 5)}, "stays near 0.900"),
        ([0.9], {"light": (0, 0)}, "stays near 0.900 up to 0.0 %"),
        ([0.9, 0.9], {"light": (0, 1)}, "stays near 0.900 up to 20.0 %"),
        ([0.9, 0.5], {"light": (0, 0), "collapsed": (1, 1)}, "then falls to 0.500 at 20.0 %"),
        ([0.9, 0.9, NAN, NAN], {"light": (0, 1), "collapsed": (2, 3)}, "stays near 0.900"),
        ([NAN, 0.9, NAN, 0.9], {"light": (0, 3)}, "stays near 0.900"),
        ([NAN, NAN], {"collapsed": (0, 1)}, "training diverged at every level"),
        ([], {}, "there are no levels"),
    ],
)
def test_curves_without_double_descent(curve, named, said):
    phases = find_phases(SPARSITY[: len(curve)], curve, 10_000)
    assert not phases.double_descent
    assert phases.verdict.startswith("no double descent: ")
    assert said in phases.verdict
    assert phases.named() == named
    assert (phases.critical, phases.sweet, phases.valley, phases.peak) == (None,) * 4


def test_levels_that_diverged_belong_to_the_phase_around_them():
    curve = descend_twice().tolist()
    for gone in (7, 15, 25):
        curve[gone] = NAN
    phases = find_phases(SPARSITY, curve, 10_000)
    assert phases.double_descent
    assert phases.critical[0] <= 7 <= phases.critical[1]
    assert phases.sweet[0] <= 15 <= phases.sweet[1]
    assert covered(phases, LEVELS) == list(range(LEVELS))


SHAPES = {
    "flat": np.full(LEVELS, 0.7),
    "flat and high": np.full(LEVELS, 0.98),
    "rising": np.linspace(0.6, 0.8, LEVELS),
    "falling": np.linspace(0.8, 0.6, LEVELS),
    "rising, then falling": np.concatenate([np.linspace(0.6, 0.8, 13), np.linspace(0.8, 0.3, 13)]),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("test_examples", [797, 10_000])
def test_chance_makes_no_double_descent(shape, test_examples):
    curves = 300
    alarms = sum(
        find_phases(
            SPARSITY, measured(SHAPES[shape], test_examples, seed), test_examples
        ).double_descent
        for seed in range(curves)
    )
    # One in a hundred is expected of flat curves, fewer of the others.
    assert alarms <= 8


@pytest.mark.parametrize("shape", ["flat", "flat and high"])
def test_chance_makes_no_collapse(shape):
    collapsed = sum(
        find_phases(SPARSITY, measured(SHAPES[shape], 797, seed), 797).collapsed is not None
        for seed in range(300)
    )
    # The peak is the highest of 26, so its distance to the lowest after it is larger than a dip's.
    assert collapsed <= 30


@pytest.mark.parametrize("test_examples", [797, 10_000])
def test_double_descent_is_found_in_spite_of_chance(test_examples):
    found = [
        find_phases(SPARSITY, measured(descend_twice(), test_examples, seed), test_examples)
        for seed in range(100)
    ]
    assert sum(phases.double_descent for phases in found) >= 98
    valleys = [phases.valley for phases in found if phases.double_descent]
    peaks = [phases.peak for phases in found if phases.double_descent]
    assert abs(np.median(valleys) - 10) <= 1
    assert abs(np.median(peaks) - 20) <= 1


accuracies = st.one_of(st.floats(0, 1), st.just(NAN))


@settings(max_examples=200, deadline=None)
@given(st.lists(accuracies, min_size=1, max_size=30), st.integers(1, 100_000))
def test_phases_hold_every_level_once_and_in_order(curve, test_examples):
    phases = find_phases([1 - 0.8**k for k in range(len(curve))], curve, test_examples)
    assert covered(phases, len(curve)) == list(range(len(curve)))
    assert phases.double_descent == (phases.valley is not None) == (phases.critical is not None)
    if phases.double_descent:
        assert phases.critical[1] == phases.valley < phases.peak <= phases.sweet[1]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=3, max_size=30), st.integers(10, 10_000),
       st.integers(2, 50))
def test_a_larger_test_set_never_takes_double_descent_away(curve, test_examples, factor):
    sparsity = [1 - 0.8**k for k in range(len(curve))]
    small = find_phases(sparsity, curve, test_examples)
    large = find_phases(sparsity, curve, test_examples * factor)
    assert large.double_descent or not small.double_descent
    if small.double_descent:
        assert (small.valley, small.peak) == (large.valley, large.peak)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0.2, 0.5), min_size=3, max_size=30), st.floats(0.001, 0.05),
       st.floats(0, 0.4))
def test_only_differences_count_where_the_standard_error_is_known(curve, error, shift):
    sparsity = [1 - 0.8**k for k in range(len(curve))]
    one = find_phases(sparsity, curve, 1000, standard_error=error)
    # Twice as high and twice as uncertain: powers of two change no rounding.
    other = find_phases(sparsity, [2 * value for value in curve], 1000, standard_error=2 * error)
    assert (one.named(), one.valley, one.peak) == (other.named(), other.valley, other.peak)

"""Phases of curves that were made by hand, and of curves that chance made."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sdd_core.analysis.phases import find_phases

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
    # Medians of three: .70 .71 .70 .60 .60 .79 .80 .40 .30; one standard error is about .005.
    curve = [0.70, 0.71, 0.71, 0.60, 0.59, 0.80, 0.79, 0.40, 0.30]
    phases = find_phases(SPARSITY[:9], curve, 10_000)
    assert phases.double_descent
    assert phases.named() == {
        "light": (0, 2), "critical": (3, 4), "sweet": (5, 6), "collapsed": (7, 8),
    }
    # Two smoothed levels share the valley's height; the lower one is meant. So with the peak.
    assert (phases.valley, phases.peak) == (4, 5)
    assert phases.verdict == (
        "sparse double descent: test accuracy 0.700 dense, valley 0.600 at 59.0 %, "
        "peak 0.790 at 67.2 % sparsity"
    )


def test_a_long_curve_is_cut_where_the_rule_says():
    phases = find_phases(SPARSITY, descend_twice().tolist(), 10_000)
    # Medians of five: .700 to level 4, .683 .667 .650 .633 .630 .630 at levels 5 to 10; from
    # level 19 on .84 .84 .80 .70 .60 .50 .40. One standard error at .84 is .0037.
    assert phases.named() == {
        "light": (0, 4), "critical": (5, 10), "sweet": (11, 20), "collapsed": (21, 25),
    }
    assert (phases.valley, phases.peak) == (10, 20)


@pytest.mark.parametrize(("test_examples", "double"), [(100, False), (80, False), (300, True)])
def test_a_short_curve_that_is_not_deep_enough_for_its_test_set_is_chance(test_examples, double):
    # 0.11 deep; sqrt(3 ln 9) sqrt(.6 * .4 / n) is 0.126 at n = 100 and 0.073 at n = 300
    curve = [0.70, 0.71, 0.71, 0.60, 0.60, 0.80, 0.80, 0.80, 0.80]
    assert find_phases(SPARSITY[:9], curve, test_examples).double_descent is double


def test_a_long_curve_shows_its_own_noise():
    smooth = np.interp(range(LEVELS), [0, 4, 12, 20, 25], [0.7, 0.7, 0.67, 0.7, 0.7])
    # 0.03 deep and smooth: sqrt(3 ln 26) times a quarter of sqrt(.67 * .33 / 800) is 0.013
    assert find_phases(SPARSITY, smooth.tolist(), 800).double_descent
    # Levels that lie in turn above and below show a noise of 4 * 0.01 / sqrt(6) = 0.016.
    rough = smooth + 0.01 * np.resize([1, -1], LEVELS)
    assert not find_phases(SPARSITY, rough.tolist(), 800).double_descent
    # A short curve cannot tell, and the binomial error of its accuracies decides.
    assert not find_phases(SPARSITY[:11], smooth[6:17].tolist(), 800).double_descent


def test_no_collapse_while_the_curve_still_rises():
    phases = find_phases(SPARSITY[:21], descend_twice()[:21].tolist(), 10_000)
    assert phases.sweet == (11, 20)
    assert phases.peak == 20
    assert phases.collapsed is None


@pytest.mark.parametrize(
    ("curve", "named", "said"),
    [
        ([0.9] * 6, {"light": (0, 5)}, "stays near 0.900 up to 67.2 %"),
        ([0.5, 0.6, 0.7, 0.8, 0.9, 0.95], {"light": (0, 0), "sweet": (1, 5)},
         "rises from 0.500 to 0.950 at 67.2 %"),
        # One standard error of the dense network is .005: .504 is no rise yet, .51 is one.
        ([0.5, 0.504, 0.504, 0.51, 0.9, 0.9], {"light": (0, 2), "sweet": (3, 5)},
         "rises from 0.500 to 0.900 at 59.0 %"),
        ([0.9, 0.9, 0.9, 0.7, 0.5, 0.3], {"light": (0, 2), "collapsed": (3, 5)},
         "stays near 0.900 up to 36.0 % sparsity, then falls to 0.300 at 67.2 %"),
        ([0.9, 0.8, 0.7, 0.6, 0.5, 0.4], {"light": (0, 0), "collapsed": (1, 5)},
         "stays near 0.900 up to 0.0 % sparsity, then falls to 0.400"),
        ([0.5, 0.7, 0.9, 0.9, 0.6, 0.1], {"light": (0, 0), "sweet": (1, 3), "collapsed": (4, 5)},
         "rises from 0.500 to 0.900 at 36.0 % sparsity without falling first, then falls to 0.100"),
        ([0.1] * 6, {"light": (0, 5)}, "stays near 0.100"),
        # one odd level is no valley
        ([0.9, 0.9, 0.1, 0.9, 0.9, 0.9], {"light": (0, 5)}, "stays near 0.900"),
        ([0.9], {"light": (0, 0)}, "stays near 0.900 up to 0.0 %"),
        ([0.9, 0.9], {"light": (0, 1)}, "stays near 0.900 up to 20.0 %"),
        ([0.9, 0.5], {"light": (0, 0), "collapsed": (1, 1)}, "then falls to 0.500 at 20.0 %"),
        ([0.9, 0.9, NAN, NAN], {"light": (0, 1), "collapsed": (2, 3)}, "stays near 0.900"),
        ([NAN, 0.9, NAN, 0.9], {"light": (0, 3)}, "stays near 0.900"),
    ],
)
def test_curves_without_double_descent(curve, named, said):
    phases = find_phases(SPARSITY[: len(curve)], curve, 10_000)
    assert not phases.double_descent
    assert phases.verdict.startswith("no double descent: ")
    assert said in phases.verdict
    assert phases.named() == named
    assert (phases.critical, phases.valley, phases.peak) == (None,) * 3


@pytest.mark.parametrize(("curve", "why"), [
    ([], "there are no levels"), ([NAN, NAN], "no level has a test accuracy"),
])  # fmt: skip
def test_of_nothing_nothing_is_said(curve, why):
    phases = find_phases(SPARSITY[: len(curve)], curve, 10_000)
    assert phases.verdict == f"nothing can be said: {why}"
    assert not phases.double_descent
    assert (phases.critical, phases.valley, phases.peak) == (None,) * 3


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


@pytest.mark.parametrize(("test_examples", "least"), [(797, 85), (10_000, 100)])
def test_double_descent_is_found_in_spite_of_chance(test_examples, least):
    found = [
        find_phases(SPARSITY, measured(descend_twice(), test_examples, seed), test_examples)
        for seed in range(100)
    ]
    assert sum(phases.double_descent for phases in found) >= least
    valleys = [phases.valley for phases in found if phases.double_descent]
    peaks = [phases.peak for phases in found if phases.double_descent]
    assert abs(np.median(valleys) - 10) <= 1
    assert abs(np.median(peaks) - 20) <= 1


accuracies = st.one_of(st.floats(0, 1), st.just(NAN))


@settings(max_examples=200)
@given(st.lists(accuracies, min_size=1, max_size=30), st.integers(1, 100_000))
def test_phases_hold_every_level_once_and_in_order(curve, test_examples):
    phases = find_phases([1 - 0.8**k for k in range(len(curve))], curve, test_examples)
    known = any(not math.isnan(value) for value in curve)
    assert covered(phases, len(curve)) == (list(range(len(curve))) if known else [])
    assert phases.double_descent == (phases.valley is not None) == (phases.critical is not None)
    if phases.double_descent:
        assert phases.critical[1] == phases.valley < phases.peak <= phases.sweet[1]
    assert (phases.sweet is not None) == (phases.double_descent or "rises" in phases.verdict)


@settings(max_examples=100)
@given(st.lists(st.floats(0, 1), min_size=3, max_size=30), st.integers(10, 10_000),
       st.integers(2, 50))
def test_a_larger_test_set_never_takes_double_descent_away(curve, test_examples, factor):
    sparsity = [1 - 0.8**k for k in range(len(curve))]
    small = find_phases(sparsity, curve, test_examples)
    large = find_phases(sparsity, curve, test_examples * factor)
    assert large.double_descent or not small.double_descent
    if small.double_descent:
        assert (small.valley, small.peak) == (large.valley, large.peak)

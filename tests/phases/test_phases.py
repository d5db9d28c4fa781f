"""Phases of curves that were made by hand, and of curves that chance made."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sdd_core.phases.chance import autoregressive
from sdd_core.phases.curves import mean_over_seeds
from sdd_core.phases.phases import find_phases

LEVELS = 31
SPARSITY = [1 - 0.8**level for level in range(LEVELS)]
NAN = math.nan


def descend_twice(levels: int = LEVELS) -> np.ndarray:
    """0.70 to level 4, down to 0.60 at level 10, up to 0.90 at level 20, then down to 0.30."""
    return np.interp(range(levels), [0, 4, 10, 20, 23, 30], [0.7, 0.7, 0.6, 0.9, 0.55, 0.3])


def covered(phases) -> list[int]:
    """The levels of all phases, in the order of the phases."""
    assert len(phases.named()) <= 4
    return [k for first, last in phases.named().values() for k in range(first, last + 1)]


def test_double_descent_is_cut_where_the_rule_says():
    # Medians of three: .70 .70 .71 .60 .60 .79 .79 .40 .30
    curve = [0.70, 0.71, 0.70, 0.60, 0.59, 0.80, 0.79, 0.40, 0.30]
    phases = find_phases(SPARSITY[:9], curve, 10_000)
    assert phases.double_descent
    assert phases.named() == {
        "light": (0, 2), "critical": (3, 4), "sweet": (5, 6), "collapsed": (7, 8),
    }
    # Of the levels around the smoothed valley the lowest is meant, around the peak the highest.
    assert (phases.valley, phases.peak) == (4, 5)
    assert phases.verdict == (
        "sparse double descent: test accuracy 0.700 dense, valley 0.590 at 59.0 %, "
        "peak 0.800 at 67.2 % sparsity"
    )


def test_the_rise_below_the_dense_network_is_critical():
    phases = find_phases(SPARSITY, descend_twice(), 10_000)
    # From level 10 it rises by .03 a level, and is above .70 from level 14 on.
    assert phases.named() == {
        "light": (0, 4), "critical": (5, 13), "sweet": (14, 21), "collapsed": (22, 30),
    }
    assert (phases.valley, phases.peak) == (10, 20)


def test_a_peak_below_the_dense_network_is_said_to_be():
    curve = np.interp(range(LEVELS), [0, 4, 10, 20, 30], [0.7, 0.7, 0.5, 0.6, 0.6])
    phases = find_phases(SPARSITY, curve, 10_000)
    assert phases.double_descent
    assert phases.verdict.endswith("peak 0.600 at 98.8 % sparsity, below the dense network")
    # The sweet phase begins half-way between 0.5 and 0.6.
    assert (phases.critical, phases.sweet) == ((5, 14), (15, 30))


def test_named_accuracies_are_those_of_levels():
    """Also where a valley is only two levels wide."""
    curve = [0.83, 0.83, 0.83, 0.82, 0.80, 0.770, 0.766, 0.80, 0.83, 0.86, 0.89, 0.9, 0.9, 0.9]
    phases = find_phases(SPARSITY[:14], curve, 10_000)
    assert phases.double_descent
    assert curve[phases.valley] in {0.770, 0.766}
    assert f"valley {curve[phases.valley]:.3f} at" in phases.verdict
    assert f"peak {curve[phases.peak]:.3f} at" in phases.verdict


def test_the_end_of_the_curve_may_be_neither_sweet_nor_collapsed():
    curve = np.interp(range(LEVELS), [0, 4, 10, 20, 30], [0.7, 0.7, 0.6, 0.9, 0.5])
    phases = find_phases(SPARSITY, curve, 10_000)
    assert (phases.sweet, phases.collapsed) == ((14, 25), None)


@pytest.mark.parametrize(("classes", "collapsed"), [(2, True), (None, False), (10, False)])
def test_collapse_is_a_matter_of_guessing(classes, collapsed):
    curve = np.interp(range(LEVELS), [0, 20, 30], [0.7, 0.7, 0.55])
    phases = find_phases(SPARSITY, curve, 10_000, classes)
    assert (phases.collapsed is not None) is collapsed


@pytest.mark.parametrize(
    "curve",
    [
        [0.9] * 4 + [0.7, 0.4] + [0.1, 0.1, 0.13, 0.2, 0.22, 0.2, 0.1, 0.1],
        [0.9] * 4 + [0.5] + [0.1] * 3 + [0.3] * 3 + [0.1] * 3,
    ],
)
def test_a_bounce_after_a_collapse_is_no_double_descent(curve):
    phases = find_phases(SPARSITY[: len(curve)], curve, 10_000, classes=10)
    assert not phases.double_descent
    assert phases.collapsed is not None
    assert phases.collapsed[1] == len(curve) - 1


def test_a_bounce_after_a_collapse_does_not_hide_double_descent():
    curve = np.append(descend_twice(), [0.1] * 5 + [0.25] * 4)
    phases = find_phases([1 - 0.8**k for k in range(len(curve))], curve, 10_000, 10)
    assert (phases.valley, phases.peak) == (10, 20)


@pytest.mark.parametrize("curve", [[0.8, 0.6, 0.7, 0.9], [0.9] * 7, [0.9], [0.9, 0.5]])
def test_of_few_levels_nothing_is_said(curve):
    phases = find_phases(SPARSITY[: len(curve)], curve, 10_000)
    assert phases.undecided
    assert not phases.double_descent
    assert phases.verdict.startswith("nothing can be said on double descent: ")
    assert "run at least 8 levels, or 5 with 3 seeds" in phases.verdict
    assert phases.named() == {}


def test_a_curve_that_has_only_fallen_so_far_ends_too_early():
    phases = find_phases(SPARSITY[:9], np.linspace(0.80, 0.70, 9), 10_000, 10)
    assert phases.undecided
    assert phases.verdict.startswith("the curve ends too early to tell: ")
    assert phases.collapsed is None
    # At 99.9 % sparsity that is no longer so.
    assert not find_phases(SPARSITY, np.linspace(0.80, 0.70, LEVELS), 10_000, 10).undecided


@pytest.mark.parametrize(("test_examples", "double"), [(100, False), (3000, True)])
def test_a_short_curve_has_to_be_deep_for_its_test_set(test_examples, double):
    curve = [0.70, 0.71, 0.71, 0.60, 0.60, 0.80, 0.80, 0.80, 0.80]
    assert find_phases(SPARSITY[:9], curve, test_examples).double_descent is double


def test_a_long_curve_shows_its_own_noise():
    smooth = np.interp(range(LEVELS), [0, 6, 14, 24, 30], [0.7, 0.7, 0.66, 0.7, 0.7])
    assert find_phases(SPARSITY, smooth, 10_000).double_descent
    rough = smooth + 0.004 * np.resize([1, -1], LEVELS)
    assert not find_phases(SPARSITY, rough, 10_000).double_descent


def test_several_seeds_show_what_one_does_not():
    rng = np.random.default_rng(0)
    truth = np.interp(range(LEVELS), [0, 6, 14, 24, 30], [0.7, 0.7, 0.66, 0.7, 0.7])
    curves = truth + 0.008 * rng.standard_normal((10, LEVELS))
    assert find_phases(SPARSITY, curves, 10_000).double_descent
    assert not any(find_phases(SPARSITY, curve, 10_000).double_descent for curve in curves)


def test_what_a_seed_adds_to_all_levels_hides_nothing():
    offsets = np.array([[-0.1], [0.0], [0.1]])
    phases = find_phases(SPARSITY, descend_twice() + offsets, 10_000)
    assert (phases.valley, phases.peak) == (10, 20)


@pytest.mark.parametrize(
    ("curve", "named", "said"),
    [
        ([0.9] * 9, {"light": (0, 8)}, "up to 83.2 %: test accuracy stays near 0.900"),
        ([0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.95, 0.95], {"light": (0, 0), "sweet": (1, 7)},
         "rises from 0.500 to 0.950 at 67.2 % sparsity without falling first by more than "
         "chance"),
        # One standard error of the dense network is .005: .504 is no rise yet, .51 is one.
        ([0.5, 0.504, 0.504, 0.51, 0.9, 0.9, 0.9, 0.9], {"light": (0, 2), "sweet": (3, 7)},
         "rises from 0.500 to 0.900"),
        ([0.9, 0.9, 0.9, 0.8, 0.7, 0.5, 0.4, 0.3], {"light": (0, 2), "collapsed": (3, 7)},
         "stays near 0.900 up to 36.0 % sparsity, then falls to 0.300 at 79.0 %"),
        ([0.5, 0.7, 0.9, 0.9, 0.6, 0.4, 0.2, 0.1],
         {"light": (0, 0), "sweet": (1, 4), "collapsed": (5, 7)}, "then falls to 0.100"),
        ([0.1] * 8, {"light": (0, 7)}, "stays near 0.100"),
        # one odd level is no valley
        ([0.9, 0.9, 0.9, 0.1, 0.9, 0.9, 0.9, 0.9], {"light": (0, 7)}, "stays near 0.900"),
        ([NAN, *[0.9] * 8, NAN], {"light": (0, 9)}, "stays near 0.900"),
    ],
)
def test_curves_without_double_descent(curve, named, said):
    phases = find_phases(SPARSITY[: len(curve)], curve, 10_000)
    assert not phases.double_descent
    assert not phases.undecided
    assert phases.verdict.startswith("no double descent up to ")
    assert said in phases.verdict
    assert "may be chance" in phases.verdict
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
    for gone in (7, 15, 30):
        curve[gone] = NAN
    phases = find_phases(SPARSITY, curve, 10_000)
    assert phases.double_descent
    assert phases.critical[0] <= 7 <= phases.critical[1]
    assert phases.sweet[0] <= 15 <= phases.sweet[1]
    assert covered(phases) == list(range(LEVELS))


NOISE = np.random.default_rng(0).normal(0, 0.002, (3, LEVELS))
LEARNED_LATE = [0.1] * 4 + [0.9] * 10 + [0.1] * 6


@pytest.mark.parametrize("curve", [
    [0.1] * LEVELS, [0.0] * LEVELS, [0.05] * 9, [0.1], [0.1, 0.105], [0.1] * 3 + [NAN] * 9,
    0.1 + NOISE, 0.1 + NOISE[0],
])  # fmt: skip
def test_where_nothing_was_learned_there_are_no_phases(curve):
    curve = np.array(curve)
    phases = find_phases(SPARSITY[: curve.shape[-1]], curve, 10_000, 10)
    assert phases.undecided
    assert phases.named() == {}
    assert ": nothing was learned; at no level is test accuracy (at most 0." in phases.verdict
    assert "above that of guessing (0.100) by more than chance" in phases.verdict


@pytest.mark.parametrize(("accuracy", "classes", "guessing", "learned"), [
    (0.108, 10, None, False), (0.110, 10, None, True),  # three errors are 0.009
    (0.9, 2, 0.9, False), (0.915, 2, 0.9, True),  # nine of ten examples are of one class
    (0.1135, 10, 0.1135, False), (0.001, None, None, True),
])  # fmt: skip
def test_what_is_learned_is_above_the_best_constant_answer(accuracy, classes, guessing, learned):
    phases = find_phases(SPARSITY, [accuracy] * LEVELS, 10_000, classes, guessing)
    assert ("nothing was learned" not in phases.verdict) is learned


def test_what_only_a_pruned_network_learns_collapses_too():
    phases = find_phases(SPARSITY[:20], LEARNED_LATE, 10_000, 10)
    assert phases.named() == {"light": (0, 3), "sweet": (4, 13), "collapsed": (14, 19)}


@pytest.mark.parametrize(("curve", "said"), [
    ([0.9] + [0.1] * 9, ": test accuracy is 0.900 dense, then falls to 0.100 at 86.6 %; a valley"),
    ([0.9] * 20 + [0.6, 0.3] + [0.1] * 5 + [0.15, 0.2, 0.25, 0.25],
     "then falls to 0.100 at 99.3 % and ends at 0.250 at 99.88 %; a valley"),
    ([0.9, 0.7] + [0.9] * 8, "; single levels that differ do not count: 20.0 % (0.700)"),
    ([0.9] * 20 + [0.1] + [0.9] * 3 + [0.2] + [0.9] * 6,
     "do not count: 98.8 % (0.100), 99.53 % (0.200)"),
    ([0.9] * 4 + [0.99] + [0.9] * 5, "do not count: 59.0 % (0.990)"),
    ([1.0] * LEVELS, "a valley of less than 0.0001 may be chance"),
    ([0.9] * 4 + [NAN] * 2 + [0.9] * 5, "may be chance; 2 of 11 levels have no test accuracy"),
    ([NAN] + [0.9] * 10, "may be chance; 1 of 11 levels has no test accuracy"),
    ([NAN, 0.9] + [0.1] * 9, "test accuracy is 0.900 at 20.0 %, then falls to 0.100"),
])  # fmt: skip
def test_sentences_about_odd_curves_are_true(curve, said):
    phases = find_phases(SPARSITY[: len(curve)], curve, 10_000, 10)
    assert not phases.double_descent
    assert said in phases.verdict


def test_a_curve_that_is_too_rough_for_any_valley_is_said_to_be():
    curve = [0.9] * 8 + [0.1, 0.9, 0.9, 0.2, 0.9]
    phases = find_phases(SPARSITY[:13], curve, 10_000, 10)
    assert phases.undecided
    assert phases.verdict.endswith("no valley could be told from chance; more seeds would tell")


def test_without_a_dense_network_none_is_named():
    curve = descend_twice()
    curve[0] = NAN
    said = find_phases(SPARSITY, curve, 10_000).verdict
    assert said.startswith("sparse double descent: test accuracy 0.700 at 20.0 %, valley 0.600 at")
    assert said.endswith("; 1 of 31 levels has no test accuracy")
    curve[1:5] = 0.95
    assert ", below that at 20.0 %; 1 of" in find_phases(SPARSITY, curve, 10_000).verdict


@pytest.mark.parametrize("gone", [0, 1, 2])
def test_a_seed_that_diverged_at_some_levels_makes_no_valley(gone):
    """The mean of the others is another one than elsewhere, because seeds differ."""
    values = np.array([[0.80], [0.85], [0.90]]) + NOISE
    values[gone, 8:14] = NAN
    phases = find_phases(SPARSITY, values, 10_000, 10)
    assert phases.verdict.startswith("no double descent up to")
    assert phases.named() == {"light": (0, 30)}
    assert mean_over_seeds(values) == pytest.approx(0.85, abs=0.006)


def test_a_seed_without_any_value_is_none():
    values = 0.8 + NOISE
    more = np.vstack([values, np.full(LEVELS, NAN)])
    assert find_phases(SPARSITY, more, 10_000) == find_phases(SPARSITY, values, 10_000)


SHAPES = {
    "flat": np.full(LEVELS, 0.7),
    "rising": np.linspace(0.6, 0.8, LEVELS),
    "falling": np.linspace(0.8, 0.6, LEVELS),
    "flat, then collapsing": np.interp(range(LEVELS), [0, 20, 30], [0.7, 0.7, 0.2]),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("seeds", [1, 3])
def test_chance_makes_no_double_descent(shape, rho, seeds):
    """A quick version of benchmarks/verdicts.py: at most 5 of 100 are expected."""
    rng = np.random.default_rng(0)
    alarms = sum(
        find_phases(SPARSITY, SHAPES[shape] + 0.012 * autoregressive(rng, (seeds, LEVELS), rho),
                    10_000, 10).double_descent
        for _ in range(100)
    )
    assert alarms <= 12


@pytest.mark.parametrize(("seeds", "least"), [(1, 85), (3, 98)])
def test_double_descent_is_found_in_spite_of_chance(seeds, least):
    rng = np.random.default_rng(0)
    curves = [descend_twice() + 0.012 * autoregressive(rng, (seeds, LEVELS), 0.8)
              for _ in range(100)]
    found = [phases for curve in curves
             if (phases := find_phases(SPARSITY, curve, 10_000)).double_descent]
    assert len(found) >= least
    assert abs(np.median([phases.valley for phases in found]) - 10) <= 1
    assert abs(np.median([phases.peak for phases in found]) - 20) <= 1


accuracies = st.one_of(st.floats(0, 1), st.just(NAN))
matrices = st.integers(1, 30).flatmap(lambda levels: st.lists(
    st.lists(accuracies, min_size=levels, max_size=levels), min_size=1, max_size=4))


@settings(max_examples=200)
@given(matrices, st.integers(1, 100_000), st.sampled_from([None, 2, 10]))
def test_phases_follow_one_another_from_the_first_level_on(curves, test_examples, classes):
    values = np.array(curves)
    sparsity = [1 - 0.8**k for k in range(values.shape[1])]
    phases = find_phases(sparsity, values, test_examples, classes)
    levels = covered(phases)
    assert levels == list(range(len(levels)))
    assert phases.double_descent == (phases.valley is not None) == (phases.critical is not None)
    assert not (phases.double_descent and phases.undecided)
    if phases.double_descent:
        assert phases.critical[0] <= phases.valley <= phases.critical[1] < phases.peak
        assert phases.sweet[0] <= phases.peak <= phases.sweet[1]
        some = ~np.isnan(values)
        mean = np.full(values.shape[1], NAN)
        mean[some.any(0)] = mean_over_seeds(values[some.any(1)][:, some.any(0)])
        first = mean[~np.isnan(mean)][0]
        if mean[phases.peak] >= first:  # no level of the rise is sweet below the dense network
            rise = mean[phases.sweet[0]:phases.peak + 1]
            assert (rise[~np.isnan(rise)] >= first).all()
    if phases.collapsed:
        assert phases.collapsed[1] == values.shape[1] - 1


@settings(max_examples=100)
@given(st.lists(st.floats(0, 1), min_size=8, max_size=30), st.integers(10, 10_000),
       st.integers(2, 50))
def test_a_larger_test_set_never_takes_double_descent_away(curve, test_examples, factor):
    sparsity = [1 - 0.8**k for k in range(len(curve))]
    small = find_phases(sparsity, curve, test_examples)
    large = find_phases(sparsity, curve, test_examples * factor)
    assert large.double_descent or not small.double_descent


def test_the_valley_that_may_be_chance_is_no_shallower_than_the_one_that_is_seen():
    """Three seeds, of which the dense networks differ much and the others hardly: the fall of
    0.025 from the dense level says little, and the sentence must not say that it would say much."""
    sparsity = [1 - 0.8**level for level in range(20)]
    mean = np.array([0.782] + [0.757] * 8 + [0.78 + 0.005 * level for level in range(11)])
    noise = np.random.default_rng(0).normal(0, 0.002, (3, 20))
    noise[:, 0] = [0.03, -0.03, 0.0]
    found = find_phases(sparsity, mean + noise, 10_000, 10)
    assert found.verdict.startswith("no double descent")
    said = float(found.verdict.rpartition("a valley of less than ")[2].split()[0])
    assert said > 0.025

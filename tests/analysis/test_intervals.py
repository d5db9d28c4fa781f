"""Intervals of curves whose truth is known: a quick version of benchmarks/verdicts.py."""

import numpy as np
import pytest

from sdd_core.analysis.intervals import first_below, turn_intervals
from sdd_core.phases.chance import autoregressive
from sdd_core.phases.phases import find_phases

LEVELS = 31
SPARSITY = [1 - 0.8**level for level in range(LEVELS)]
CURVES = {
    "sharp": np.interp(range(LEVELS), [0, 3, 11, 25, 30], [0.75, 0.75, 0.686, 0.88, 0.83]),
    "skewed": np.interp(range(LEVELS), [0, 3, 14, 17, 27, 30],
                        [0.75, 0.75, 0.69, 0.80, 0.86, 0.75]),
    "wide": np.interp(range(LEVELS), [0, 3, 7, 14, 20, 26, 30],
                      [0.75, 0.75, 0.686, 0.686, 0.83, 0.83, 0.78]),
}


@pytest.mark.parametrize("name", CURVES)
@pytest.mark.parametrize(("seeds", "rho"), [(3, 0.0), (3, 0.9), (5, 0.0), (10, 0.5)])
def test_intervals_of_valley_and_peak_hold_the_truth_in_95_of_100_cases(name, seeds, rho):
    true, rng, said = CURVES[name], np.random.default_rng(0), 0
    held = np.zeros((2, 2))
    for _ in range(200):
        values = true + 0.012 * autoregressive(rng, (seeds, LEVELS), rho)
        phases = find_phases(SPARSITY, values, 10_000, 10)
        if not phases.double_descent:
            continue
        said += 1
        heights = (true[:20].min(), true.max())
        for turn, intervals in enumerate(
            turn_intervals(values, SPARSITY, (phases.valley, phases.peak))
        ):
            place, height = intervals
            assert place.low <= place.value <= place.high
            assert height.low <= height.value <= height.high
            at = [SPARSITY[level] for level in np.flatnonzero(true == heights[turn])]
            held[turn] += (any(place.low <= one <= place.high for one in at),
                           height.low <= heights[turn] <= height.high)
    assert said > 100
    # Below 0.90 with a probability of 0.002 if 0.95 are expected.
    assert (held / said).min() >= 0.90


@pytest.mark.parametrize(("seeds", "rho"), [(3, 0.0), (3, 0.9), (5, 0.5), (10, 0.0)])
def test_the_interval_of_a_threshold_holds_the_true_one(seeds, rho):
    true = np.interp(range(LEVELS), [0, 10, 16, 24, 30], [1.0, 1.0, 0.984, 0.9, 0.6])
    at, rng, held = SPARSITY[np.flatnonzero(true < 0.99)[0]], np.random.default_rng(0), 0
    for _ in range(200):
        values = true + 0.0024 * autoregressive(rng, (seeds, LEVELS), rho)
        found = first_below(values, 0.99, SPARSITY)
        assert found.low <= found.value <= found.high
        held += found.low <= at <= found.high
    assert held >= 180


def test_more_seeds_make_intervals_narrower():
    rng = np.random.default_rng(0)
    widths = []
    for seeds in (3, 30):
        values = CURVES["sharp"] + 0.012 * autoregressive(rng, (seeds, LEVELS), 0.5)
        widths.append([one.high - one.low for pair in turn_intervals(values, SPARSITY, (11, 25))
                       for one in pair])
    assert sum(widths[1]) < 0.5 * sum(widths[0])

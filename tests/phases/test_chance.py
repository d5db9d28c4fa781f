"""What chance makes of noise whose correlation is known."""

import numpy as np
import pytest

from sdd_core.phases.chance import (
    autoregressive,
    correlation,
    highest_likely_correlation,
    largest_t,
    t_statistics,
)

LEVELS = 31
BURST = np.where(np.isin(range(LEVELS), (20, 21)), 10.0, 1.0)


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("scale", [1.0, BURST], ids=["even", "burst"])
def test_the_correlation_is_that_of_all_levels(rho, scale):
    """Also where two levels are much noisier than the others."""
    rng = np.random.default_rng(0)
    noise = [autoregressive(rng, (30, LEVELS), rho) * scale for _ in range(2)]
    assert correlation(noise) == pytest.approx(rho, abs=0.1)


def test_few_seeds_may_correlate_by_more_than_they_show():
    rng = np.random.default_rng(0)
    below = {3: 0, 10: 0}
    for seeds in below:
        for _ in range(100):
            noise = [autoregressive(rng, (seeds, LEVELS), 0.7)]
            likely = highest_likely_correlation(noise)
            assert correlation(noise) < likely <= 0.95
            below[seeds] += likely < 0.7
    # Of the correlations that the seeds show, 63 to 74 are below the truth.
    assert max(below.values()) <= 35


def test_seeds_that_agree_may_correlate_by_any_amount():
    assert highest_likely_correlation([np.ones((3, 8))]) == 0.95


@pytest.mark.parametrize(("rho", "scale", "most"), [
    (0.0, 1.0, 0.07), (0.9, 1.0, 0.08), (0.95, 1.0, 0.09), (0.0, BURST, 0.08), (0.9, BURST, 0.11),
])
def test_three_seeds_seldom_err(rho, scale, most):
    """A quick version of benchmarks/verdicts.py: 5 of 100 are expected, with a burst 6 to 8."""
    rng = np.random.default_rng(0)
    noise = [autoregressive(rng, (3, LEVELS), rho) * scale for _ in range(600)]
    false = np.mean([np.abs(t_statistics([one])).max() > largest_t([one]) for one in noise])
    assert false <= most

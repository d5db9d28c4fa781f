"""The measured costs, by a clock of the test's own."""

from __future__ import annotations

from itertools import count

import pytest

from sdd_core.sparse.costs import LayerWork, default_costs
from sdd_core.training import fit_costs as fit

STEP = 1e6
"""Nanoseconds that every step takes by that clock."""


@pytest.mark.slow
def test_costs_are_nanoseconds_for_each_weight(monkeypatch):
    ticks = count()
    monkeypatch.setattr(fit, "perf_counter", lambda: next(ticks) * STEP / 1e9)
    costs = fit.fit_costs(repeats=1).check()
    assert costs.dense_first == pytest.approx(STEP / (300 * 784))
    assert costs.dense_inner == pytest.approx(STEP / (300 * 300))
    # Of the same layers 0.6 of the weights are kept.
    assert costs.sparse_first == pytest.approx(costs.dense_first / 0.6, rel=0.01)
    assert costs.sparse_inner == pytest.approx(costs.dense_inner / 0.6, rel=0.01)
    assert costs.dense_layer == 0
    # A large network takes no longer than a small one, so it is the step that costs.
    assert (costs.general_weight, costs.general_step) == pytest.approx((0, STEP))
    convolutions = (costs.sparse_pixel, costs.sparse_kept, costs.general_pixel)
    assert convolutions == pytest.approx((0, 0, 0), abs=1e-9)
    # The costs of a masked layer keep their ratios, and add up to the time of a step.
    assert costs.masked_weight / default_costs().masked_weight == pytest.approx(
        costs.masked_call / default_costs().masked_call
    )
    work = LayerWork(512 * 512, 26_206, 1024, 8.0, 5 * 1024 * 512, convolution=False)
    assert costs.masked(work) == pytest.approx(STEP, rel=0.05)

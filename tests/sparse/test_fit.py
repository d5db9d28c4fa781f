"""The measured costs."""

from __future__ import annotations

from dataclasses import asdict
from itertools import product

from sdd_core.sparse.fit import fit_costs
from sdd_core.training.costs import KernelCosts

NAMES = ("sparse", "dense"), ("first", "inner")


def test_costs_of_this_machine_are_plausible():
    costs = fit_costs(repeats=3).check()
    # From a few picoseconds to a microsecond a weight, whatever the machine.
    layers = [getattr(costs, f"{kernel}_{place}") for kernel, place in product(*NAMES)]
    assert all(0.005 < cost < 1000 for cost in layers), layers
    assert asdict(costs) != asdict(KernelCosts())

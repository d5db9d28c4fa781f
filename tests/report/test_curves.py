"""Curves at levels: which, the means over seeds, how far they climb."""

import math
from dataclasses import replace

import pytest
from results import descent, made

from sdd_core.analysis.groups import group
from sdd_core.report.curves import (
    curves_csv,
    curves_figure,
    curves_table,
    read_curves,
    telling_levels,
)


def with_line(seed, line):
    result = descent(settings={"seed": seed})
    levels = tuple(replace(one, metrics={**one.metrics, "line": line}) for one in result.levels)
    return replace(result, levels=levels)


def test_the_levels_are_those_that_the_paper_looks_at():
    assert telling_levels(group([descent()])[0]) == [0, 4, 6, 8]
    assert telling_levels(group([made([0.9] * 5)])[0]) == [0, 4]


def test_a_curve_is_the_mean_over_seeds_and_knows_how_far_it_climbs():
    seeds = [with_line(0, {"0.00": 3.0, "0.50": 1.0, "1.00": 0.5}),
             with_line(1, {"0.00": 1.0, "0.50": 0.0, "1.00": 1.5})]
    (curve,) = read_curves(group(seeds), "line", [3])
    assert curve.places.tolist() == [0.0, 0.5, 1.0]
    assert curve.values.tolist() == [2.0, 0.5, 1.0]
    assert curve.climb == pytest.approx(0.5)
    assert "| 2.000 | 0.500 | 1.000 | 0.500 |" in curves_table([curve])
    assert curves_csv([curve]).splitlines()[1].endswith(",0.0,2.0")
    (panel,) = curves_figure([curve]).axes
    assert panel.lines[0].get_ydata().tolist() == [2.0, 0.5, 1.0]


def test_a_curve_that_falls_all_the_way_does_not_climb():
    (curve,) = read_curves(group([with_line(0, {"0.0": 3, "0.5": 3, "1.0": 1})]), "line", [0])
    assert curve.climb == 0


def test_levels_without_a_curve_are_left_out_and_a_number_that_is_missing_is_a_gap():
    result = with_line(0, {"0": 1.0, "1": None})
    bare = replace(result, levels=(replace(result.levels[0], metrics={}), *result.levels[1:]))
    found = read_curves(group([bare]), "line", [0, 1, 99])
    assert [curve.level for curve in found] == [1]
    assert math.isnan(found[0].values[1])
    assert read_curves(group([bare]), "no such metric", [0, 1]) == []

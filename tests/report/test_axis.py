"""Curves over multiply-adds, bytes and other metrics than the sparsity."""

import csv
import json
import math
import re

import pytest
from results import descent, made

import sdd_core
from sdd_core import SddError
from sdd_core.analysis.axis import Axis, in_words, logarithmic
from sdd_core.analysis.groups import group
from sdd_core.output.text import short_number
from sdd_core.report import write_report

DENSE = 50_000
MACS = [DENSE * 0.6**level for level in range(9)]
BYTES = [200.0 - level for level in range(9)]


def priced(**changes):
    """A result with four phases and the cost of each level."""
    return descent(**{"kept_macs": MACS, "packed_bytes": BYTES, "dense_macs": [DENSE] * 9,
                      **changes})


def test_the_line_is_drawn_over_the_metric_with_the_dense_network_at_the_left():
    (panel,) = sdd_core.plot(priced(), x="macs").axes
    assert list(panel.lines[0].get_xdata()) == MACS
    assert panel.get_xscale() == "log"
    assert panel.get_xlim() == pytest.approx((MACS[0], MACS[-1]))
    assert panel.get_xlabel() == "kept multiply-adds per example"
    labels = [text.get_text() for text in panel.get_xticklabels()]
    assert {"20 k", "10 k", "5 k"} <= set(labels)


def test_phases_end_half_way_between_levels_as_they_are_drawn():
    (panel,) = sdd_core.plot(priced(), x="macs").axes
    first = panel.patches[0].get_extents().transformed(panel.transData.inverted())
    # light lasts to level 2; half-way to level 3 on a logarithmic axis
    assert sorted([first.x0, first.x1]) == pytest.approx([math.sqrt(MACS[2] * MACS[3]), MACS[0]])
    names = [text.get_text() for text in panel.texts]
    assert names == ["light", "critical", "sweet", "collapsed"]


def test_values_that_differ_little_have_a_linear_axis():
    (panel,) = sdd_core.plot(priced(), x="bytes").axes
    assert panel.get_xscale() == "linear"
    assert panel.get_xlabel() == "packed size, bytes"


@pytest.mark.parametrize(("values", "expected"), [
    ([1.0, 10.0], True), ([1.0, 9.9], False), ([0.0, 1.0, 10.0], True), ([-1.0, 1.0, 10.0], False),
    ([math.nan, 1.0, 10.0], True), ([0.0, 0.0], False), ([], False), ([math.nan], False),
])  # fmt: skip
def test_an_axis_is_logarithmic_where_numbers_are_positive_and_differ_much(values, expected):
    assert logarithmic(values) == expected


def test_metrics_without_order_along_the_levels_have_no_phases():
    times = [1.0, 2.0, 1.5, 1.0, 0.9, 0.7, 0.8, 0.6, 0.7]
    (panel,) = sdd_core.plot(priced(latency_dense_1_ms=times), x="latency_dense_1_ms").axes
    assert panel.get_xlabel() == "latency dense 1, ms"
    assert not panel.patches
    assert panel.xaxis.get_inverted()
    assert not sdd_core.plot(priced(), x="learning_distance").axes[0].patches


def test_levels_with_nothing_left_are_not_on_a_logarithmic_axis():
    (panel,) = sdd_core.plot(priced(kept_macs=[*MACS[:-1], 0.0]), x="macs").axes
    assert math.isnan(panel.lines[0].get_xdata()[-1])
    assert panel.get_xscale() == "log"


def test_several_networks_are_drawn_over_their_own_costs(tmp_path):
    small = made([0.9, 0.8], run="small", kept_macs=[10.0, 5.0])
    large = made([0.9, 0.8], run="large", settings={"model": "resnet20"}, kept_macs=[400.0, 60.0])
    (panel,) = sdd_core.plot([small, large], x="macs", output=tmp_path / "a.png").axes
    assert [list(line.get_xdata()) for line in panel.lines] == [[10.0, 5.0], [400.0, 60.0]]
    rows = list(csv.DictReader((tmp_path / "a.csv").read_text().splitlines()))
    assert [float(row["kept_macs_mean"]) for row in rows] == [10, 5, 400, 60]


def test_a_run_without_the_metric_says_how_to_measure_it():
    later = made([0.9, 0.8], run="old", settings={"model": "resnet20"})
    with pytest.raises(SddError, match="run old has no 'kept_macs'; `sdd resume old` measures it"):
        sdd_core.plot([priced(), later], x="macs")
    chosen = made([0.9, 0.8], run="old", settings={"metrics": ["accuracy"]})
    with pytest.raises(SddError, match=r"`sdd run old/experiment.toml --metric cost` measures it"):
        sdd_core.plot(chosen, x="parameters")
    with pytest.raises(SddError, match=r"`sdd run old/experiment.toml --metric latency` measures"):
        sdd_core.plot(later, ["latency_dense_1_ms"])
    with pytest.raises(SddError, match="called 'sparsty'; did you mean sparsity"):
        sdd_core.plot(later, x="sparsty")
    one, other = (made([0.9, 0.8], run=f"seed{seed}", settings={"seed": seed}, **cost)
                  for seed, cost in enumerate(({"kept_macs": [2.0, 1.0]}, {})))
    with pytest.raises(SddError, match="run seed1 has no 'kept_macs'"):
        sdd_core.plot([one, other], x="macs")


def data_of(page):
    return json.loads(re.search('id="data">(.*?)</script>', page.read_text(), re.S)[1])


def test_the_report_is_drawn_over_it_too(tmp_path):
    write_report(priced(), tmp_path, x="macs")
    page = tmp_path / "report.html"
    data = data_of(page)
    assert data["x"] == pytest.approx([-math.log(value) for value in MACS], rel=1e-5)
    assert data["ticks"][:2] == ["50 k", "30 k"]
    assert len(data["phases"]) == 4
    assert "Over kept multiply-adds per example, each level a point" in page.read_text()
    write_report(descent(), tmp_path)
    data = data_of(page)
    assert data["ticks"] == data["percent"]
    assert "Over sparsity in %, each level a point" in page.read_text()


def test_a_page_has_no_place_for_a_level_that_diverged(tmp_path):
    curve = [0.9, 0.8, 0.7, math.nan]
    write_report(made(curve, kept_macs=[8.0, 4.0, 2.0, 1.0]), tmp_path, x="macs")
    data = data_of(tmp_path / "report.html")
    assert data["x"][3] is None
    assert data["phases"] == []


@pytest.mark.parametrize(("value", "text"), [
    (0.0, "0"), (0.25, "0.25"), (999.0, "999"), (1000.0, "1 k"), (50_234.0, "50.2 k"),
    (999_900.0, "1 M"), (40_813_184.0, "40.8 M"), (2.5e9, "2.5 G"), (-1500.0, "-1.5 k"),
])  # fmt: skip
def test_short_numbers(value, text):
    assert short_number(value) == text


def test_places_grow_from_dense_to_sparse():
    (runs,) = group([priced()])
    for name in ("sparsity", "macs", "bytes"):
        places = Axis(name).places(runs)
        assert places == sorted(places)


def test_names_in_words():
    assert in_words("test_accuracy") == "test accuracy"
    assert in_words("zipped_bytes") == "zipped, bytes"

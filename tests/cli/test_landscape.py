"""`sdd landscape`."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import pytest
from results import made

from cli.conftest import FAST, refused
from sdd_core import SddError
from sdd_core.report.landscape import landscape_figure


def with_lines(count: int):
    """A result whose level k has the loss k + place^2, but level 1, which diverged."""
    result = made([0.5] * count)
    lines = [None if one.level == 1 else
             {"-0.50": one.level + 1.25, "0.00": one.level + 1.0, "0.50": None}
             for one in result.levels]  # fmt: skip
    return replace(result, levels=tuple(
        replace(one, metrics={**one.metrics, "landscape": line})
        for one, line in zip(result.levels, lines, strict=True)
    ))


def test_lines_and_numbers_are_those_of_the_levels():
    figure, numbers = landscape_figure(with_lines(4), [3, 0])
    (panel,) = figure.axes
    assert [line.get_label() for line in panel.lines] == ["level 0, 0.0 %", "level 3, 48.8 %"]
    assert list(panel.lines[1].get_xdata()) == [-0.5, 0.0, 0.5]
    assert list(panel.lines[1].get_ydata())[:2] == [4.25, 4.0]
    rows = list(csv.DictReader(numbers.splitlines()))
    assert [(row["level"], row["place"], row["loss"]) for row in rows] == [
        ("0", "-0.50", "1.25"), ("0", "0.00", "1.0"), ("0", "0.50", ""),
        ("3", "-0.50", "4.25"), ("3", "0.00", "4.0"), ("3", "0.50", ""),
    ]  # fmt: skip
    assert float(rows[3]["sparsity"]) == pytest.approx(1 - 0.8**3)


def test_six_levels_are_drawn_where_none_are_named():
    def drawn(count):
        (panel,) = landscape_figure(with_lines(count))[0].axes
        return [int(line.get_label().split()[1].strip(",")) for line in panel.lines]

    assert drawn(1) == [0]
    assert drawn(4) == [0, 2, 3]
    assert drawn(27) == [0, 6, 11, 16, 21, 26]


def test_levels_without_a_line_are_named():
    with pytest.raises(SddError, match="no landscape at level 1; it has one at 0, 2"):
        landscape_figure(with_lines(3), [0, 1])


def test_the_command_draws_what_the_metric_measured(sdd, tmp_path):
    done = sdd("run", *FAST, "--metric", "landscape", "--store", "s", "--json", "--quiet")
    assert done.exit_code == 0, done.output
    levels = json.loads(done.stdout)["levels"]
    done = sdd("landscape", "digits", "--store", "s", "--output", "out/around.svg")
    assert done.exit_code == 0, done.output
    assert done.stdout == "wrote out/around.svg\nwrote out/around.csv\n"
    assert (tmp_path / "out" / "around.svg").read_text().startswith("<?xml")
    rows = list(csv.DictReader((tmp_path / "out" / "around.csv").open()))
    assert [float(row["loss"]) for row in rows] == [
        loss for level in levels for loss in level["metrics"]["landscape"].values()
    ]
    first = (tmp_path / "out" / "around.svg").read_bytes()
    sdd("landscape", "digits", "--store", "s", "--output", "out/around.svg", "--levels", "0,1")
    assert (tmp_path / "out" / "around.svg").read_bytes() == first


def test_what_it_cannot_draw_is_refused(sdd, finished):
    said = refused(sdd("landscape", "digits", "--store", finished))
    assert "experiment.toml --metric landscape` measures it" in said
    said = refused(sdd("landscape", "digits", "--store", finished, "--levels", "a"))
    assert "--levels 'a' is no list of levels" in said
    assert ".svg" in refused(sdd("landscape", "x", "--store", finished, "--output", "x.jpg"))

"""`sdd landscape`."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import pytest
from results import made

from cli.conftest import FAST, refused
from sdd_core import SddError
from sdd_core.report.figure import save_figure
from sdd_core.report.landscape import landscape_figure, plane_figure


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


def with_planes(planes):
    result = made([0.5] * len(planes))
    return replace(result, levels=tuple(
        replace(one, metrics={**one.metrics, "landscape_2d": plane})
        for one, plane in zip(result.levels, planes, strict=True)
    ))


def test_a_plane_has_its_first_direction_across():
    # Loss 1 + 4 x + y: it grows fastest to the right.
    plane = {f"{x:.2f},{y:.2f}": 1 + 4 * x + y for x in (0.0, 1.0) for y in (0.0, 1.0)}
    figure, numbers = plane_figure(with_planes([plane, None, plane | {"1.00,1.00": None}]))
    first, other, _ = figure.axes
    assert [panel.get_title("left") for panel in (first, other)] == [
        "level 0, 0.0 %", "level 2, 36.0 %"
    ]
    (drawn,) = first.collections
    assert (drawn.norm.vmin, drawn.norm.vmax) == (1, 6)
    # Between 5 and 6 there is the corner at the upper right alone.
    corner = drawn.get_paths()[-1].vertices
    assert corner.max(axis=0).tolist() == [1, 1]
    assert corner[:, 0].min() > corner[:, 1].min()
    rows = list(csv.DictReader(numbers.splitlines()))
    assert [(row["place"], row["place_2"], row["loss"]) for row in rows[4:]] == [
        ("0.00", "0.00", "1.0"), ("0.00", "1.00", "2.0"), ("1.00", "0.00", "5.0"),
        ("1.00", "1.00", ""),
    ]  # fmt: skip


@pytest.mark.parametrize("loss", [0.0, 2.5, None])
def test_a_plane_without_any_slope_is_drawn(loss):
    plane = dict.fromkeys(("0.00,0.00", "0.00,1.00", "1.00,0.00", "1.00,1.00"), loss)
    save_figure(plane_figure(with_planes([plane] * 7), [0, 1, 2, 3])[0], io.BytesIO(), "svg")


def test_the_command_draws_a_plane(sdd, tmp_path):
    (tmp_path / "plane.toml").write_text(
        'metrics = [{ name = "landscape", dimensions = 2, points = 1, batches = 1 }]\n')
    assert sdd("run", "plane.toml", *FAST, "--store", "s", "--quiet").exit_code == 0
    done = sdd("landscape", "digits", "--store", "s", "--plane", "--output", "plane.png")
    assert done.stdout == "wrote plane.png\nwrote plane.csv\n"
    levels = {row["level"] for row in csv.DictReader((tmp_path / "plane.csv").open())}
    rows = (tmp_path / "plane.csv").read_text().splitlines()
    assert len(rows) == 1 + 9 * len(levels)
    said = refused(sdd("landscape", "digits", "--store", "s"))
    assert "has no landscape; " in said


def test_what_it_cannot_draw_is_refused(sdd, finished):
    said = refused(sdd("landscape", "digits", "--store", finished))
    assert "experiment.toml --metric landscape` measures it" in said
    said = refused(sdd("landscape", "digits", "--store", finished, "--plane"))
    assert 'has no landscape_2d; ' in said
    assert "dimensions = 2" in said
    said = refused(sdd("landscape", "digits", "--store", finished, "--levels", "a"))
    assert "--levels 'a' is not a list of levels" in said
    assert ".svg" in refused(sdd("landscape", "x", "--store", finished, "--output", "x.jpg"))

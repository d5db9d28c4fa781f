import csv
import io
import math
from itertools import pairwise
from typing import get_args

import pytest
from matplotlib import rc_context
from matplotlib.text import Text
from results import descent, made

import sdd_core
from sdd_core import SddError
from sdd_core.analysis.groups import group, place
from sdd_core.report.figure import result_figure, save_figure
from sdd_core.report.look import Legend
from sdd_core.report.plot import groups_csv, groups_figure


def rates():
    """Two seeds at two noise rates; one level diverged."""
    curves = {0.2: ([0.8, 0.6, 0.9], [0.9, 0.8, math.nan]), 0.4: ([0.5, 0.4, 0.7],) * 2}
    return [made(curve, settings={"seed": seed, "noise": {"rate": rate}},
                 learning_distance=[1.0, 2.0, 3.0])
            for rate, seeds in curves.items() for seed, curve in enumerate(seeds)]


def dashes(line):
    """How a line is dashed, scaled as it is drawn; () where it is not."""
    return tuple(line._dash_pattern[1] or ())


def test_lines_are_means_and_bands_are_deviations():
    (panel,) = sdd_core.plot(rates()).axes
    first, second = panel.lines
    assert (first.get_label(), second.get_label()) == ("noise 0.2", "noise 0.4")
    assert list(first.get_xdata()) == [place(1 - 0.8**level) for level in range(3)]
    assert list(first.get_ydata()) == pytest.approx([0.85, 0.7, 0.9])
    band = panel.collections[0].get_paths()[0].vertices
    # at level 1: 0.7 and a deviation of sqrt(0.02); at level 2 one value, without deviation
    for level, (low, high) in enumerate([(0.85 - math.sqrt(0.005), 0.85 + math.sqrt(0.005)),
                                         (0.7 - math.sqrt(0.02), 0.7 + math.sqrt(0.02)),
                                         (0.9, 0.9)]):
        edge = [y for x, y in band if x == pytest.approx(place(1 - 0.8**level))]
        assert (min(edge), max(edge)) == pytest.approx((low, high))


def test_each_metric_has_a_panel_with_its_name():
    panels = sdd_core.plot(rates(), ["test_accuracy", "learning_distance"]).axes
    assert [panel.get_ylabel() for panel in panels] == ["test accuracy", "learning distance"]
    assert [len(panel.lines) for panel in panels] == [2, 2]


def test_one_group_has_its_phases_shaded_and_its_verdict_as_title():
    (panel,) = sdd_core.plot(descent()).axes
    assert [text.get_text() for text in panel.texts] == ["light", "critical", "sweet", "collapsed"]
    assert panel.get_title(loc="left").startswith("sparse double descent: valley 0.590 at 59.0 %")
    several, = sdd_core.plot(rates()).axes
    assert not list(several.texts)
    assert several.get_title(loc="left").startswith("noise 0.2 ")


@pytest.mark.parametrize("form", ["png", "svg", "pdf"])
def test_the_same_results_give_the_same_files_with_the_numbers_beside(tmp_path, form):
    for folder in ("first", "again"):
        sdd_core.plot(rates(), output=tmp_path / folder / f"figure.{form}")
    for name in (f"figure.{form}", "figure.csv"):
        first, again = ((tmp_path / folder / name).read_bytes() for folder in ("first", "again"))
        assert first == again
        assert first
    text = (tmp_path / "first" / "figure.csv").read_text()
    assert text == groups_csv(group(rates()), ["test_accuracy"])


def test_the_numbers_are_those_of_the_lines():
    rows = list(csv.DictReader(io.StringIO(groups_csv(group(rates()), ["test_accuracy"]))))
    assert [(row["group"], row["level"]) for row in rows] == [
        (label, str(level)) for label in ("noise 0.2", "noise 0.4") for level in range(3)
    ]
    assert float(rows[1]["test_accuracy_mean"]) == pytest.approx(0.7)
    assert float(rows[1]["test_accuracy_deviation"]) == pytest.approx(math.sqrt(0.02))
    assert [row["test_accuracy_count"] for row in rows] == ["2", "2", "1", "2", "2", "2"]
    assert [row["diverged"] for row in rows] == ["0", "0", "1", "0", "0", "0"]
    assert rows[2]["test_accuracy_deviation"] == ""
    assert float(rows[2]["density"]) == pytest.approx(0.64)


def test_a_notebook_shows_the_figure(tmp_path):
    figure = sdd_core.plot(rates(), output=tmp_path / "figure.png")
    assert figure._repr_png_() == (tmp_path / "figure.png").read_bytes()


def test_more_groups_than_colours_can_be_told_apart():
    runs = [made([0.9, 0.8], settings={"noise": {"rate": rate / 20}}) for rate in range(1, 18)]
    (panel,) = sdd_core.plot(runs).axes
    looks = [(line.get_color(), dashes(line), line.get_marker()) for line in panel.lines]
    assert len(set(looks)) == 17
    for some in (looks[:7], looks[7:14]):
        assert len({colour for colour, _, _ in some}) == 7
        # in print without colour either of the two others tells
        assert len({dashed for _, dashed, _ in some}) == len({mark for _, _, mark in some}) == 7


@pytest.mark.parametrize(
    ("results", "metrics", "output", "said"),
    [
        (rates(), ["test_acuracy"], None, "'test_acuracy'; did you mean test_accuracy"),
        (rates(), ["zzz"], None, "there are test_accuracy, learning_distance, sparsity_by_layer/"),
        (rates(), ["sparsity_by_layer"], None, "sparsity_by_layer/hidden.weight"),
        (rates(), ["test_accuracy"], "figure.jpg", "ends in .png, .svg or .pdf"),
        ([made([math.nan])], ["test_accuracy"], None, "has no number at any level of any run"),
        ([], ["test_accuracy"], None, "there is no run to plot"),
    ],
)
def test_what_cannot_be_drawn_is_told(results, metrics, output, said, tmp_path):
    with pytest.raises(SddError) as error:
        sdd_core.plot(results, metrics, output and tmp_path / output)
    assert said in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_runs_of_one_level_or_without_numbers_between_can_be_drawn():
    assert groups_figure(group([made([0.9])]), ["test_accuracy"]).axes
    assert groups_figure(group([made([0.9, math.nan, 0.8])]), ["test_accuracy"]).axes


def words(figure):
    return " ".join(text.get_text() for text in figure.findobj(Text))


@pytest.mark.parametrize("legend", get_args(Legend))
def test_a_legend_stands_where_it_is_wanted(legend):
    figure = sdd_core.plot(rates(), legend=legend, title="")
    assert ("noise 0.4" in words(figure)) == (legend != "none")
    (panel,) = figure.axes
    assert (panel.get_legend() is not None) == (legend not in {"right", "below", "none"})
    assert len(figure.legends) == (legend in {"right", "below"})
    figure.draw_without_rendering()
    for drawn in figure.legends:
        box, axes = drawn.get_window_extent(), panel.get_window_extent()
        assert box.x0 >= axes.x1 if legend == "right" else box.y1 <= axes.y0


@pytest.mark.parametrize(
    ("width", "size"),
    [(2.0, 6.0), (3.3, 8.0), (3.3, 10.0), (7.2, 10.0), (7.2, 16.0), (12.0, 6.0)],
)
def test_width_and_size_of_text_are_as_asked_for_and_nothing_overlaps(width, size):
    curves = [made([0.7 + level / 200 for level in range(32)], settings={"seed": seed})
              for seed in range(2)]
    figure = sdd_core.plot(curves, width=width, font_size=size, title="")
    assert figure.get_figwidth() == width
    (panel,) = figure.axes
    labels = panel.get_xticklabels()
    assert all(one.get_size() == size for one in [*labels, panel.xaxis.label, panel.yaxis.label])
    assert panel.texts[0].get_size() == pytest.approx(0.9 * size)
    figure.draw_without_rendering()
    boxes = [one.get_window_extent() for one in labels]
    assert len(boxes) >= 2
    assert all(one.x1 < other.x0 for one, other in pairwise(boxes)), "numbers run into one another"


def test_lines_are_called_what_is_asked_for_in_figure_numbers_and_verdict(tmp_path):
    figure = sdd_core.plot(rates(), output=tmp_path / "figure.svg", labels=["some, noise", "more"])
    assert [line.get_label() for line in figure.axes[0].lines] == ["some, noise", "more"]
    rows = list(csv.DictReader((tmp_path / "figure.csv").open()))
    assert {row["group"] for row in rows} == {"some, noise", "more"}
    assert "noise 0.2" not in words(figure)
    # text stays text, which can be searched and edited
    assert "some, noise" in (tmp_path / "figure.svg").read_text()


def test_a_title_takes_the_place_of_what_the_runs_show():
    for title in ("", "mine"):
        (panel,) = sdd_core.plot(descent(), title=title).axes
        assert panel.get_title(loc="left") == title


@pytest.mark.parametrize("figure", [sdd_core.plot(rates()), result_figure(descent())], ids=range(2))
@pytest.mark.parametrize("form", ["pdf", "eps"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_fonts_are_truetype_however_a_figure_is_saved(figure, form, tmp_path, caplog):
    with rc_context({"pdf.fonttype": 3, "ps.fonttype": 3}):  # as matplotlib has it
        figure.savefig(tmp_path / f"own.{form}")
        if form == "pdf":
            with (tmp_path / "ours.pdf").open("wb") as file:
                save_figure(figure, file, "pdf")
    for file in tmp_path.iterdir():
        content = file.read_bytes()
        assert b"Type3" not in content
        assert b"FontType 3" not in content
        assert (b"/CIDFontType2" if form == "pdf" else b"FontType 42") in content


@pytest.mark.parametrize(
    ("look", "said"),
    [
        ({"width": 0}, "width 0: expected inches, from 1 to 50"),
        ({"width": math.nan}, "width nan: expected inches"),
        ({"width": 1e9}, "width 1000000000.0: expected inches"),
        ({"font_size": 0}, "font size 0: expected points, from 3 to 50"),
        ({"font_size": math.inf}, "font size inf: expected points"),
        ({"legend": "middle"}, "legend 'middle': expected one of best, upper-left"),
        ({"labels": ["one"]}, "labels: 1 for 2 line(s); give one for each, in this order: noise "
                              "0.2; noise 0.4"),
    ],
)
def test_an_impossible_look_is_told(look, said, tmp_path):
    with pytest.raises(SddError) as error:
        sdd_core.plot(rates(), output=tmp_path / "figure.png", **look)
    assert said in str(error.value)
    assert list(tmp_path.iterdir()) == []

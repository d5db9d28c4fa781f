import csv
import io
import math

import pytest
from results import descent, made

import sdd_core
from sdd_core import SddError
from sdd_core.analysis.groups import group, place
from sdd_core.report.plot import groups_csv, groups_figure


def rates():
    """Two seeds at two noise rates; one level diverged."""
    curves = {0.2: ([0.8, 0.6, 0.9], [0.9, 0.8, math.nan]), 0.4: ([0.5, 0.4, 0.7],) * 2}
    return [made(curve, settings={"seed": seed, "noise": {"rate": rate}},
                 learning_distance=[1.0, 2.0, 3.0])
            for rate, seeds in curves.items() for seed, curve in enumerate(seeds)]


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
    assert len({(line.get_color(), line.get_linestyle()) for line in panel.lines}) == 17


@pytest.mark.parametrize(
    ("results", "metrics", "output", "said"),
    [
        (rates(), ["test_acuracy"], None, "'test_acuracy'; did you mean test_accuracy"),
        (rates(), ["zzz"], None, "there are test_accuracy, learning_distance, sparsity_by_layer/"),
        (rates(), ["sparsity_by_layer"], None, "sparsity_by_layer/hidden.weight"),
        (rates(), ["test_accuracy"], "figure.jpg", "ends in .png, .svg or .pdf"),
        ([made([math.nan])], ["test_accuracy"], None, "is a number at no level of any run"),
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

import io
import itertools
import math

import pytest
from results import descent, made

from sdd_core.analysis.groups import place
from sdd_core.report.figure import result_figure, save_figure
from sdd_core.report.look import Look


def drawn(result, form: str) -> bytes:
    file = io.BytesIO()
    save_figure(result_figure(result), file, form)
    return file.getvalue()


@pytest.mark.parametrize(("form", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml"),
                                             ("pdf", b"%PDF")])
def test_the_same_result_gives_the_same_bytes(form, start):
    once = drawn(descent(), form)
    assert once.startswith(start)
    assert once == drawn(descent(), form)
    assert once != drawn(descent(test=[0.7, 0.71, 0.7, 0.6, 0.59, 0.8, 0.82, 0.4, 0.3]), form)


def test_the_figure_shows_the_curves_and_names_the_phases():
    upper, lower = result_figure(descent()).axes
    by_label = {line.get_label(): line for line in upper.lines}
    assert list(by_label["test"].get_ydata()) == descent().curve("test_accuracy")
    assert list(lower.lines[0].get_ydata()) == descent().curve("learning_distance")
    assert list(by_label["test"].get_xdata()) == [place(s) for s in descent().sparsity]
    assert [text.get_text() for text in upper.texts] == ["light", "critical", "sweet", "collapsed"]
    assert upper.get_title(loc="left") == descent().phases.verdict


def test_equal_fractions_of_the_remaining_weights_are_equal_steps():
    places = [place(1 - 0.8**level) for level in range(25)]
    for before, after in itertools.pairwise(places):
        assert after - before == pytest.approx(-math.log(0.8))


@pytest.mark.parametrize("test", [[0.9], [math.nan], [0.9, math.nan], [math.nan] * 3, [0.5] * 3])
def test_results_with_little_in_them_can_be_drawn(test):
    assert drawn(made(test), "svg")


def test_an_empty_network_can_be_drawn():
    assert drawn(made([0.9, 0.1], sparsity=[0.0, 1.0]), "svg")


def test_the_curves_differ_without_colour_too():
    upper, _ = result_figure(descent()).axes
    test, train = upper.lines[:2]
    assert test.get_marker() != train.get_marker()
    assert test._dash_pattern != train._dash_pattern


def test_it_has_the_look_that_is_asked_for():
    figure = result_figure(descent(), Look(3.5, 7.0, "below"))
    assert figure.get_figwidth() == 3.5
    assert figure.legends
    assert figure.axes[0].yaxis.label.get_size() == 7

"""The page: it parses, holds everything, loads nothing, and says nothing that it was not given."""

import json
import math
import re
from html.parser import HTMLParser

import pytest
from results import descent, made

from sdd_core.analysis.groups import place
from sdd_core.report.page import report_page

VOID = {"meta", "link", "br", "img", "input", "hr"}


class Page(HTMLParser):
    """Reads a page; refuses elements that do not close in their order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: dict[str, str] = {}
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        inside = self.open[-1] if self.open else ""
        if inside == "script" and self.elements[-1][1].get("id") == "data":
            inside = "data"
        self.text[inside] = self.text.get(inside, "") + data

    @property
    def data(self):
        return json.loads(self.text["data"])


def test_the_data_of_every_level_are_embedded():
    result = descent()
    data = Page(report_page(result)).data
    assert data["levels"] == list(range(9))
    assert data["x"] == pytest.approx([place(s) for s in result.sparsity], rel=1e-5)
    for metric in ("test_accuracy", "train_accuracy", "learning_distance"):
        assert data["metrics"][metric] == result.curve(metric)
    assert data["layers"]["hidden.weight"] == pytest.approx(result.sparsity, rel=1e-5)
    assert [one["number"] for one in data["epochs"]] == [[1, 2]] * 9
    assert data["epochs"][3]["test_accuracy"] == [0.6, 0.6]
    assert dict(data["phases"]) == {
        "light": [0, 2], "critical": [3, 4], "sweet": [5, 6], "collapsed": [7, 8],
    }
    # Opened with the dense network, the valley, the peak and the last level.
    assert data["chosen"] == [0, 4, 6, 8]


def test_verdict_facts_phases_and_settings_can_be_read_without_a_script():
    result = descent()
    page = Page(report_page(result))
    assert result.phases.verdict in page.text["p"]
    assert page.text["h1"] == page.text["title"] == result.run
    for fact in ("dense test accuracy", "valley", "peak", "recommended",
                 "interpolation threshold", "by learning distance alone"):
        assert fact in page.text["dt"]
    for phase in ("light", "critical", "sweet", "collapsed"):
        assert phase in page.text["td"]
    assert page.text["pre"] == result.experiment.to_toml()


def test_nothing_is_loaded():
    text = report_page(descent())
    assert not re.search(r"https?://|//[a-z]+\.|@import|url\(", text)
    for tag, attributes in Page(text).elements:
        assert tag not in {"link", "img", "iframe", "object", "embed"}
        assert not {"src", "href", "srcset", "action"} & attributes.keys()
    assert "default-src 'none'" in text


def test_names_are_text_and_nothing_else():
    evil = "</script><script>alert(1)</script><b>@DATA@ &amp; \u2028"
    result = made([0.7, 0.8], run=evil, **{evil: [1.0, 2.0]})
    text = report_page(result)
    page = Page(text)
    assert page.text["h1"] == evil
    assert page.data["metrics"][evil] == [1.0, 2.0]
    assert "alert(1)</script>" not in text
    assert [tag for tag, _ in page.elements].count("script") == 2


def test_the_same_result_gives_the_same_page():
    assert report_page(descent()) == report_page(descent())


@pytest.mark.parametrize("test", [[0.9], [math.nan], [0.9, math.nan, 0.8], [math.nan] * 3])
def test_a_result_with_little_in_it_has_a_page(test):
    data = Page(report_page(made(test))).data
    assert data["diverged"] == [math.isnan(value) for value in test]
    expected = [None if math.isnan(value) else value for value in test]
    assert data["metrics"].get("test_accuracy", [None] * len(test)) == expected


def test_an_empty_network_has_its_place():
    data = Page(report_page(made([0.9, 0.1], sparsity=[0.0, 1.0]))).data
    assert data["percent"] == ["0.0", "100.0000"]
    assert data["x"][1] == pytest.approx(place(1.0), rel=1e-5)

import csv

from results import made

from cli.conftest import refused
from sdd_core.analysis.groups import group
from sdd_core.cli.plot import _print


def test_plot_writes_the_figure_and_its_numbers(sdd, finished, tmp_path):
    done = sdd("plot", "--store", finished, "--metric", "test_accuracy", "--metric",
               "learning_distance", "--output", tmp_path / "out" / "both.svg")
    assert done.exit_code == 0, done.output
    assert "nothing can be said on double descent: " in done.stdout
    assert "recommended: " in done.stdout
    assert (tmp_path / "out" / "both.svg").read_text().startswith("<?xml")
    rows = list(csv.DictReader((tmp_path / "out" / "both.csv").open()))
    assert [row["level"] for row in rows] == ["0", "1"]
    assert {"test_accuracy_mean", "learning_distance_mean"} <= rows[0].keys()


def test_plot_takes_names_and_patterns(sdd, finished, tmp_path):
    for word in ("digits", "digits-*"):
        assert sdd("plot", word, "--store", finished, "--output", "a.png").exit_code == 0
    assert "matches 'cifar*'" in refused(sdd("plot", "cifar*", "--store", finished))
    assert "no run 'cifar'" in refused(sdd("plot", "cifar", "--store", finished))


def test_plot_refuses_what_it_cannot_draw(sdd, finished, tmp_path):
    before = sorted(tmp_path.iterdir())
    refused(sdd("plot", "--store", finished, "--metric", "test_acuracy"))
    refused(sdd("plot", "--store", finished, "--output", "figure.jpg"))
    refused(sdd("plot"))
    assert sorted(tmp_path.iterdir()) == before


def test_plot_has_a_look(sdd, finished, tmp_path):
    done = sdd("plot", "--store", finished, "--output", "a.svg", "--width", "3.25", "--font-size",
               "7", "--legend", "below", "--labels", "all of them", "--title", "mine")
    assert done.exit_code == 0, done.output
    text = (tmp_path / "a.svg").read_text()
    assert 'width="234pt"' in text
    assert "mine" in text
    assert done.stdout.startswith("all of them: ")
    assert "all of them" in (tmp_path / "a.csv").read_text()


def test_plot_takes_labels_with_commas_as_toml_has_them(sdd, finished):
    done = sdd("plot", "--store", finished, "--output", "a.svg", "--labels", '["one, two"]')
    assert done.stdout.startswith("one, two: ")


def test_report_and_landscape_have_one_too(sdd, finished, tmp_path):
    done = sdd("report", "digits", "--store", finished, "--output", "out", "--width", "3.5")
    assert done.exit_code == 0, done.output
    assert 'width="252pt"' in (tmp_path / "out" / "figure.svg").read_text()
    assert {"--width", "--font-size", "--legend"} <= {*sdd("landscape", "--help").output.split()}


def test_plot_refuses_an_impossible_look(sdd, finished):
    for words, said in ((("--width", "0"), "width 0.0: expected inches"),
                        (("--font-size", "nan"), "font size nan: expected points"),
                        (("--legend", "middle"), "'middle' is not one of"),
                        (("--labels", "a,b"), "labels: 2 for 1 line(s)")):
        assert said in refused(sdd("plot", "--store", finished, *words))


def test_a_phase_that_there_is_none_of_is_none_here_too(capsys):
    _print(group([made([0.9] * 8)])[0])
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["critical", "none"] in lines


def test_a_curve_that_is_too_short_has_no_table_of_phases(sdd, finished):
    assert "critical" not in sdd("plot", "--store", finished, "--output", "a.svg").stdout

import csv

from cli.conftest import refused


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

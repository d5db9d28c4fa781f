"""A recipe carried out: its page, figures and numbers."""

import csv
import json
import re

import pytest
from click.testing import CliRunner

from sdd_core.analysis.prediction import check_learning_distance
from sdd_core.cli import main
from sdd_core.errors import SddError
from sdd_core.plugin.discovery import load_plugins
from sdd_core.reproduce.recipes import Recipe
from sdd_core.reproduce.reproduce import prepare, reproduce
from sdd_core.sweeps import make_executor
from sdd_core.sweeps.progress import Silent
from sdd_core.sweeps.work import RunOptions

pytestmark = pytest.mark.slow

SCALES = """
[[small]]
title = "Few digits"
[small.settings]
seed = [0, 1]
levels = 2
data = { name = "digits", examples = 100 }
model = { name = "mlp", widths = [8] }
train = { epochs = 2 }
[[medium]]
title = "m"
settings = {}
[[paper]]
title = "p"
settings = {}
"""

RECIPE = """
title = "Ticket or not"
source = "Section 4"
claim = "It depends."
metrics = ["test_accuracy", "train_accuracy"]
compare = true
correlate = ["learning_distance", "flatness_of_the_earth"]

[[vary]]
title = "with and without"
settings = [{}, { ablation = "reinit" }]
"""


@pytest.fixture
def recipe(tmp_path):
    (tmp_path / "scales.toml").write_text(SCALES)
    (tmp_path / "ticket.toml").write_text(RECIPE)
    return Recipe.read(tmp_path / "ticket.toml")


def carry_out(recipe, store, on=""):
    plugins = load_plugins()
    return reproduce(
        prepare(recipe, "small", plugins, on),
        executor=make_executor({"name": "local", "workers": 1}, plugins),
        where=RunOptions(store), progress=Silent(),
    )  # fmt: skip


def test_a_page_says_what_was_asked_and_what_was_found(recipe, tmp_path):
    made = carry_out(recipe, tmp_path / "runs")
    # 2 seeds of 3 levels, and 2 of them once more under the ablation
    assert (made.levels, made.trained) == (10, 10)
    page, image, numbers = made.write(tmp_path / "out")
    text = page.read_text()
    assert page.name == "ticket-small.md"
    assert text.startswith("# Ticket or not (small)\n\n> It depends.")
    assert "sdd reproduce ticket --scale small" in text
    assert "4 runs, 10 levels; 10 of them were trained and measured in" in text
    assert "## Few digits: with and without" in text
    assert f"]({image.name})" in text
    assert f"]({numbers.name})" in text
    assert image.read_text().startswith("<?xml")
    assert "ablation reinit (2 seeds)" in text
    # Three levels have one of four rank correlations, and nobody has the other metric.
    assert re.search(r"\| ablation none \| [+-](1.00|0.50|0.87|0.00) \| not measured \|", text)
    rows = list(csv.DictReader(numbers.open()))
    assert {row["group"] for row in rows} == {"ablation none", "ablation reinit"}
    ticket = next(row for row in rows if row["level"] == "2")
    curves = [result.curve("test_accuracy")[2] for result in made.shown[0].groups[0].results]
    assert float(ticket["test_accuracy_mean"]) == pytest.approx(sum(curves) / 2)


def test_a_page_says_what_the_claim_leaves_out(recipe, tmp_path):
    text = RECIPE.replace("compare = true", 'note = """Not\nhere."""')
    (tmp_path / "noted.toml").write_text(text)
    made = carry_out(Recipe.read(tmp_path / "noted.toml"), tmp_path / "runs")
    page = made.write(tmp_path / "out")[0].read_text()
    assert "\n\nNot here.\n\n    sdd reproduce noted" in page


CURVES = """
title = "Lines"
source = "Section 3.1"
claim = "They fall."
metrics = ["test_accuracy"]
correlate = ["learning_distance"]
curves = ["loss_on_the_way_to_level", "landscape"]

[[vary]]
title = "sparse and re-dense"
settings = [{}, { ablation = { name = "re-dense", epochs = 1 }, metrics = [
    "accuracy", "learning_distance", { name = "landscape", points = 2 },
    { name = "interpolation", to = "level", points = 3 },
] }]
"""


def test_curves_are_drawn_with_their_numbers(recipe, tmp_path):
    (tmp_path / "lines.toml").write_text(CURVES)
    made = carry_out(Recipe.read(tmp_path / "lines.toml"), tmp_path / "runs")
    page, *others = made.write(tmp_path / "out")
    assert [file.name for file in others] == [
        "lines-small.svg", "lines-small.csv", "lines-small-curves.svg", "lines-small-curves.csv"]
    text = page.read_text()
    assert "along lines](lines-small-curves.svg)" in text
    assert "(lines-small-curves.csv)" in text
    rows = list(csv.DictReader(others[-1].open()))
    re_dense = made.shown[0].groups[1]
    for metric, levels, places in (("loss_on_the_way_to_level", {"2"}, 5), ("landscape", {"0", "2"},
                                                                            5)):
        of_metric = [row for row in rows if row["metric"] == metric]
        # The dense network has no way to itself; the level between is neither valley nor peak.
        assert {row["level"] for row in of_metric} >= levels
        last = [row for row in of_metric if row["level"] == "2"]
        assert len(last) == places
        for row in last:
            name = f"{float(row['place']):.2f}"
            each = [result.levels[2].metrics[metric][name] for result in re_dense.results]
            assert float(row["mean"]) == pytest.approx(sum(each) / len(each))
    assert {row["group"] for row in rows} == {"ablation re-dense"}
    # Re-dense runs are no test of what the distance predicts.
    (checked,) = re.findall(r"The distance as a prediction: (.*)", text)
    plain = made.shown[0].groups[0].results
    assert checked == f"{check_learning_distance(plain).verdict}."


def test_a_page_written_again_remembers_what_training_took(recipe, tmp_path):
    first = carry_out(recipe, tmp_path / "runs")
    first.write(tmp_path / "out")
    before = (tmp_path / "out" / "ticket-small.md").read_text()
    again = carry_out(recipe, tmp_path / "runs")
    assert again.trained == 0
    again.write(tmp_path / "out")
    assert (tmp_path / "out" / "ticket-small.md").read_text() == before
    again.write(tmp_path / "elsewhere")
    elsewhere = (tmp_path / "elsewhere" / "ticket-small.md").read_text()
    assert "all of them were in the store" in elsewhere


def test_a_run_that_fails_is_named(recipe, tmp_path):
    text = (tmp_path / "ticket.toml").read_text()
    (tmp_path / "ticket.toml").write_text(text.replace(
        '{ ablation = "reinit" }', '{ retrain = { to = 1000 } }'))
    with pytest.raises(SddError, match=r"2 of 4 runs failed, of Few digits; digits-mlp-.*1000"):
        carry_out(Recipe.read(tmp_path / "ticket.toml"), tmp_path / "runs")


ELSEWHERE = """
[[small]]
title = "Images that are not there"
settings = { seed = [0, 1], levels = 1, data = { name = "image-folder", path = "nowhere" } }
"""


@pytest.fixture
def on_two(recipe, tmp_path):
    """The same recipe, also on a data set that is missing."""
    scales = (tmp_path / "scales.toml").read_text().replace("[[medium]]", ELSEWHERE + "[[medium]]")
    (tmp_path / "scales.toml").write_text(scales)
    return Recipe.read(tmp_path / "ticket.toml")


def test_a_missing_data_set_is_left_out_and_the_others_are_carried_out(on_two, tmp_path):
    made = carry_out(on_two, tmp_path / "runs")
    assert [one.figure.base for one in made.shown] == ["Few digits"]
    assert (made.levels, made.trained, len(made.failures)) == (10, 10, 4)
    assert re.match(r"4 of 8 runs failed, of Images that are not there; image_folder-mlp-.*: data "
                    r"'image-folder': .*nowhere.*; expected .* below --data-root", made.what_failed)
    page, image, _ = made.write(tmp_path / "out")
    assert image.name == "ticket-small-1.svg", "as it will be where nothing is left out"
    text = page.read_text()
    assert "4 runs, 10 levels; 10 of them were trained" in text
    assert "## Few digits: with and without" in text
    assert text.endswith("Left out, as runs failed: Images that are not there: with and without.\n")
    whole = (tmp_path / "scales.toml").read_text().replace(ELSEWHERE, "")
    (tmp_path / "scales.toml").write_text(whole)
    alone = carry_out(Recipe.read(tmp_path / "ticket.toml"), tmp_path / "runs")
    assert [one.results for one in alone.shown] == [one.results for one in made.shown]


def test_it_may_be_carried_out_on_some_of_the_data(on_two, tmp_path):
    made = carry_out(on_two, tmp_path / "runs", on="FEW dig")
    assert not made.failures
    page, image, numbers = made.write(tmp_path / "out")
    assert [file.name for file in (page, image, numbers)] == [
        "ticket-small-few-dig.md", "ticket-small-few-dig.svg", "ticket-small-few-dig.csv"
    ]
    assert "    sdd reproduce ticket --scale small --on 'FEW dig'\n" in page.read_text()
    with pytest.raises(SddError, match="no title of recipe ticket at scale small contains it; "
                       "there are 'Few digits', 'Images that are not there'"):
        prepare(on_two, "small", load_plugins(), on="cifar")


def test_what_was_left_out_is_said_at_the_end_with_exit_code_1(on_two, tmp_path, monkeypatch):
    monkeypatch.setattr("sdd_core.cli.reproduce.find_recipe", lambda name, files: on_two)
    asked = CliRunner().invoke(main, [
        "reproduce", "ticket", "--quiet", "--workers", "1", "--store", str(tmp_path / "runs"),
        "--output", str(tmp_path / "out"),
    ])
    assert asked.exit_code == 1
    assert f"wrote {tmp_path / 'out' / 'ticket-small.md'}" in asked.output
    last = asked.output.splitlines()[-1]
    assert last.startswith("sdd: ticket: 4 of 8 runs failed, of Images that are not there; image_")


def test_the_list_names_every_recipe_with_its_runs():
    listed = CliRunner().invoke(main, ["reproduce", "--list"])
    assert listed.exit_code == 0
    assert "fig1" in listed.output
    assert "Figure 1" in listed.output
    document = json.loads(CliRunner().invoke(main, ["reproduce", "--list", "--json"]).output)
    fig1 = next(one for one in document if one["name"] == "fig1")
    # 5, 3 + 3 and 5 + 5 + 4 * 3 seeds; two rates of noise, the paper's one at its scale
    assert fig1["runs"] == {"small": 10, "medium": 12, "paper": 22}
    assert fig1["claim"].startswith("With wrong labels")


def test_an_unknown_recipe_is_one_line():
    asked = CliRunner().invoke(main, ["reproduce", "fig99"])
    assert asked.exit_code == 2
    assert "no recipe is called 'fig99'; there are best-epoch" in asked.output

import csv
import io
import math
import re
from dataclasses import replace

import pytest
from results import LAYERS, descent, made
from rich.console import Console

from sdd_core.cli.runs import print_result
from sdd_core.report.page import report_page
from sdd_core.runs.result import Result
from sdd_core.runs.table import (
    csv_table,
    html_table,
    levels_table,
    phase_of,
    phase_table,
    result_table,
)


def shown(table) -> str:
    console = Console(width=200, file=io.StringIO())
    console.print(table)
    return console.file.getvalue()


def test_csv_holds_every_number_of_every_level_exactly():
    result = descent()
    rows = list(csv.DictReader(io.StringIO(csv_table(result))))
    assert [int(row["level"]) for row in rows] == list(range(9))
    for row, level in zip(rows, result.levels, strict=True):
        assert float(row["sparsity"]) == level.sparsity
        assert float(row["density"]) == level.density
        for metric in ("test_accuracy", "train_accuracy", "learning_distance"):
            assert float(row[metric]) == level.metrics[metric]
        for layer, value in level.metrics["sparsity_by_layer"].items():
            assert float(row[f"sparsity_by_layer/{layer}"]) == value
    phases = ["light"] * 3 + ["critical"] * 2 + ["sweet"] * 2 + ["collapsed"] * 2
    assert [row["phase"] for row in rows] == phases


def test_csv_of_a_level_that_diverged_has_empty_cells():
    rows = list(csv.DictReader(io.StringIO(csv_table(made([0.9, math.nan, 0.9])))))
    assert [row["diverged"] for row in rows] == ["False", "True", "False"]
    assert [row["test_accuracy"] for row in rows] == ["0.9", "", "0.9"]


def test_table_shows_what_was_measured_and_no_other_column():
    text = shown(result_table(made([0.9, math.nan], train_accuracy=[0.95, 0.94])))
    head, dense, pruned, noise = text.splitlines()
    assert head.split() == ["level", "sparsity", "%", "test", "train", "phase"]
    assert dense.split() == ["0", "0.00", "0.900", "0.950"]
    assert pruned.split() == ["1", "20.00", "diverged", "0.940", "diverged"]
    assert noise.strip() == "label noise: symmetric 0.4"


def test_costs_are_on_pages_and_not_in_the_terminals_table():
    costs = {"kept_macs": [40_813_184, 50_200.0], "packed_bytes": [math.nan, 1_500.0]}
    result = made([0.9, 0.8], **costs)
    rows = re.findall("<tr>(.*?)</tr>", levels_table(result))
    cells = [re.findall(r"<t[hd]>(.*?)</t[hd]>", row) for row in rows]
    assert cells == [["level", "sparsity %", "test", "kept MACs", "packed bytes", "phase"],
                     ["0", "0.00", "0.900", "40.8 M", "-", ""],
                     ["1", "20.00", "0.800", "50.2 k", "1.5 k", ""]]
    assert "MACs" not in shown(result_table(result))
    assert "MACs" not in levels_table(made([0.9, 0.8]))


def test_phase_table_names_the_four_phases_with_their_levels_and_accuracies():
    rows = [line.split("  ") for line in shown(phase_table(descent())).splitlines()[1:]]
    cells = [[cell.strip() for cell in row if cell.strip()] for row in rows]
    assert cells == [
        ["light", "0 to 2", "0.00 to 36.00", "0.700 to 0.700"],
        ["critical", "3 to 4", "48.80 to 59.04", "0.600 to 0.590"],
        ["sweet", "5 to 6", "67.23 to 73.79", "0.800 to 0.810"],
        ["collapsed", "7 to 8", "79.03 to 83.22", "0.400 to 0.300"],
    ]


@pytest.mark.parametrize("result", [descent(), made([0.9] * 8), made([0.9] * 6 + [0.5, 0.4]),
                                    made([0.7, 0.71, 0.7, 0.6, 0.59, 0.8, 0.81, 0.81])],
                         ids=range(4))
def test_terminal_and_page_say_the_same_of_each_phase(result):
    rows = [re.split("  +", line.strip()) for line in
            shown(phase_table(result)).splitlines()[1:]]
    page = report_page(result).partition('<table class="phases">')[2].partition("</table>")[0]
    for (name, *cells), row in zip(rows, page.split("<tr>")[2:], strict=True):
        there = [cell for cell in re.findall("<td>(.*?)</td>", row) if cell]
        assert name in there[0]
        assert cells[0] == there[1]  # the levels, or none
        assert len(cells) == len(there) - 1
        if cells[0] == "none":
            assert name not in result.phases.named()


@pytest.mark.parametrize("result", [made([0.9, 0.8]), made([math.nan] * 3)], ids=range(2))
def test_neither_terminal_nor_page_has_a_table_of_phases_where_there_are_none(result, capsys):
    assert not result.phases.named()
    print_result(result, [])
    assert "collapsed" not in capsys.readouterr().out
    assert "<h2>Phases</h2>" not in report_page(result)


def test_without_a_test_accuracy_there_are_tables_without_phases():
    result = made([math.nan] * 3)
    assert [phase_of(result, level) for level in range(3)] == [""] * 3
    rows = [line.split() for line in shown(result_table(result)).splitlines()[1:-1]]
    assert [row[-1] for row in rows] == ["diverged"] * 3
    assert shown(phase_table(result)).count("none") == 4


def test_a_notebook_shows_the_verdict_and_all_levels():
    page = descent()._repr_html_()
    assert page == html_table(descent())
    assert page.count("<tr>") == 1 + 9
    assert "valley" in page
    assert "<td>0.590</td>" in page


def emptied() -> Result:
    """Level 2 has lost a layer, level 3 another one and the inputs of two classes."""
    result = made([0.9, 0.8, 0.7, 0.1])
    dead = [(0, 0, []), (0, 0, []), (1, 0, ["hidden.weight"]), (2, 2, list(LAYERS))]
    levels = tuple(
        replace(level, metrics={
            **level.metrics, "dead_layers": layers, "dead_classes": classes,
            "sparsity_by_layer": {name: float(name in names) for name in LAYERS},
        })
        for level, (layers, classes, names) in zip(result.levels, dead, strict=True)
    )  # fmt: skip
    return replace(result, levels=levels)


def test_levels_that_pruning_has_emptied_are_marked():
    _, *rows = shown(result_table(emptied())).splitlines()
    assert [row.split()[0] for row in rows[:4]] == ["0", "1", "2*", "3*"]
    caption = " ".join(" ".join(rows[4:]).split())  # as wide as the table
    assert caption == ("label noise: symmetric 0.4 "
                       "* dead: hidden from level 2, output from level 3, 2 classes from level 3")
    page = html_table(emptied())
    assert "<th>dead</th>" in page
    assert page.count("<td>hidden</td>") == 1
    assert page.count("<td>hidden, output, 2 classes</td>") == 1


def lost(*levels, weights=LAYERS, **metrics):
    """A run whose levels have lost these weights."""
    result = made([0.9] * len(levels), **metrics)
    return replace(result, levels=tuple(
        replace(level, metrics={
            **level.metrics, "dead_layers": len(names),
            "sparsity_by_layer": {weight: float(weight in names) for weight in weights},
        }) for level, names in zip(result.levels, levels, strict=True)))


MANY = [f"{number}.weight" for number in range(8)]
LSTM = ["lstm.weight_ih_l0", "lstm.weight_hh_l0", "output.weight"]


@pytest.mark.parametrize(("result", "caption"), [
    # a layer may grow again, and die once more
    (lost([], ["output.weight"], [], ["output.weight"], ["hidden.weight"]),
     "output from level 1, hidden from level 4"),
    (lost([], LSTM[1:], LSTM, weights=LSTM),
     "lstm.weight_hh_l0 from level 1, output from level 1, lstm.weight_ih_l0 from level 2"),
    (lost([], ["weight"], weights=["weight"]), "weight from level 1"),
    (lost([], [], dead_classes=[0, 1]), "1 class from level 1"),
    (lost([], [], [], [], dead_classes=[0, 1, 3, 2]), "up to 3 classes from level 1"),
    (lost([], MANY[:5], MANY, weights=MANY),
     "0 from level 1, 1 from level 1, 2 from level 1, 3 from level 1, 4 from level 1, 5 from level "
     "2 and 2 more"),
    (made([0.9, 0.8], dead_layers=[0, 2]), "2 layers from level 1"),  # without their names
])  # fmt: skip
def test_the_footnote_names_the_level_at_which_each_died_first(result, caption):
    lines = " ".join(shown(result_table(result)).split())
    assert lines.endswith(f"* dead: {caption}")


def test_no_mark_where_nothing_is_dead():
    text = shown(result_table(descent()))
    assert "dead" not in text
    assert "*" not in text
    assert "dead" not in html_table(made([0.9, 0.8], dead_layers=[0, 0], dead_classes=[0, 0]))

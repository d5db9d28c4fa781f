"""`--x` of plot, report and recommend, and `sdd recommend`."""

import csv
import json
import math

import pytest
from results import made

from cli.conftest import FAST, refused
from sdd_core.analysis.groups import group
from sdd_core.analysis.recommendation import recommend as advise
from sdd_core.cli import recommend as command
from sdd_core.cli.runs import print_result


@pytest.mark.parametrize(("x", "column"), [
    ("macs", "kept_macs"), ("parameters", "kept_parameters"), ("bytes", "packed_bytes"),
    ("learning_distance", "learning_distance"),
])  # fmt: skip
def test_plot_draws_over_it_and_writes_it_beside(sdd, finished, tmp_path, x, column):
    done = sdd("plot", "--store", finished, "--x", x, "--output", "a.png")
    assert done.exit_code == 0, done.output
    first, second = csv.DictReader((tmp_path / "a.csv").open())
    assert {f"{column}_mean", "test_accuracy_mean"} <= first.keys()
    if x != "learning_distance":
        assert float(first[f"{column}_mean"]) > float(second[f"{column}_mean"]) > 0


def test_report_draws_over_it(sdd, finished, tmp_path):
    done = sdd("report", "digits", "--store", finished, "--x", "macs", "--output", "out")
    assert done.exit_code == 0, done.output
    assert "kept multiply-adds per example" in (tmp_path / "out" / "figure.svg").read_text()
    assert "Over kept multiply-adds" in (tmp_path / "out" / "report.html").read_text()


def test_recommend_says_how_far_to_prune(sdd, finished):
    done = sdd("recommend", "--store", finished)
    assert done.exit_code == 0, done.output
    assert " % sparsity: " in done.stdout
    assert "test accuracy" in done.stdout
    (row,) = json.loads(sdd("recommend", "--store", finished, "--x", "macs", "--json").stdout)
    assert row["runs"].startswith("digits, ")
    assert {"level", "sparsity", "fewer_macs", "smaller", "gain"} <= row["advice"].keys()


def test_recommend_says_it_for_each_group_of_runs(sdd, finished, monkeypatch):
    runs = [made([0.9, 0.9], run="a", kept_macs=[10.0, 5.0], dense_macs=[10.0] * 2),
            made([0.9, 0.5], run="b", settings={"noise": {"rate": 0.2}}),
            made([math.nan], run="c", settings={"noise": {"rate": 0.6}})]
    monkeypatch.setattr(command, "named_results", lambda *_: (runs, ["unreadable"]))
    done = sdd("recommend", "--store", finished)
    assert done.exit_code == 1  # one run was left out
    assert done.stdout.splitlines() == [
        f"noise 0.4: 20.0 % sparsity: 2.0x fewer MACs, +0.0 points; {advise_why(runs[0])}",
        f"noise 0.2: 0.0 % sparsity: {advise_why(runs[1])}",
        "noise 0.6: no sparsity, because training diverged at every level",
    ]
    rows = json.loads(sdd("recommend", "--store", finished, "--json").stdout)
    assert rows[2]["advice"] is None
    assert rows[1]["advice"]["smaller"] is None


def advise_why(result):

    return advise(*group([result])).why


@pytest.mark.parametrize("words", [("plot",), ("report", "digits"), ("recommend",)])
def test_an_axis_that_was_not_measured_is_one_line(sdd, finished, tmp_path, words):
    before = sorted(tmp_path.iterdir())
    said = refused(sdd(*words, "--store", finished, "--x", "latency_dense_1_ms"))
    assert "experiment.toml --metric latency` measures it" in said
    assert "did you mean macs" in refused(sdd(*words, "--store", finished, "--x", "mac"))
    assert sorted(tmp_path.iterdir()) == before


def test_a_run_that_was_made_before_cost_is_measured_by_the_command_that_is_named(sdd, tmp_path):
    (tmp_path / "old.toml").write_text('metrics = ["accuracy"]\n')
    assert sdd("run", "old.toml", *FAST, "--store", "s", "--quiet").exit_code == 0
    said = refused(sdd("plot", "--store", "s", "--x", "macs"))
    words = said.split("`")[1].removeprefix("sdd ").split()
    assert sdd(*words, "--store", "s", "--quiet", "--device", "cpu").exit_code == 0
    assert sdd("plot", "--store", "s", "--x", "macs").exit_code == 0


def test_a_run_ends_with_the_price_in_its_recommendation(capsys):
    result = made([0.85, 0.86, 0.881, 0.6], dense_macs=[1000.0] * 4, dense_bytes=[4000.0] * 4,
                  kept_macs=[1000.0, 500.0, 70.0, 10.0], packed_bytes=[4100.0, 2100.0, 360.0, 60.0])
    print_result(result, [])
    (line,) = [one for one in capsys.readouterr().out.splitlines() if "recommended" in one]
    assert line.startswith("recommended: 36.0 % sparsity: 14x fewer MACs, 11x smaller, +3.1 points")

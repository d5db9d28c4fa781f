"""Options that are plugins, `train.optimizer`, have options of their own on the command line."""

from __future__ import annotations

import csv
import tomllib

import pytest

from cli.conftest import FAST, refused

ADAM = ("--train.optimizer=AdamW", "--train.lr=0.01")


def written(done, folder):
    assert done.exit_code == 0, done.output
    return tomllib.loads((folder / done.stdout.strip() / "experiment.toml").read_text())


def test_they_reach_the_record(sdd, tmp_path):
    done = sdd("run", *FAST, "-q", *ADAM, "--train.optimizer.betas=0.5,0.75",
               "--pruner.sparsity=linear", "--pruner.sparsity.to", "0.5",
               "--pruner.sparsity.over", "1", "--pruner.scope=erk")  # fmt: skip
    found = written(done, tmp_path)
    assert found["train"]["optimizer"] == {
        "name": "AdamW", "decay_biases": True, "betas": [0.5, 0.75], "eps": 1e-8, "amsgrad": False,
    }
    assert found["pruner"]["sparsity"] == {"name": "linear", "to": 0.5, "over": 1}
    assert found["pruner"]["scope"] == "erk"


def test_a_name_alone_is_written_as_a_name(sdd, tmp_path):
    found = written(sdd("run", *FAST, "-q", *ADAM), tmp_path)
    assert found["train"]["optimizer"] == "AdamW"
    assert found["train"]["decay"] == "steps"


USUAL = {"name": "AdamW", "decay_biases": True, "betas": [0.9, 0.999], "amsgrad": False}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((), {**USUAL, "eps": 0.5}),
        (("--train.optimizer=AdamW",), {**USUAL, "eps": 0.5}),
        (("--train.optimizer.eps=0.25",), {**USUAL, "eps": 0.25}),
        (("--train.optimizer=Adagrad",), "Adagrad"),
        (("--set", 'train.optimizer={name = "AdamW"}'), "AdamW"),
    ],
)
def test_the_options_of_a_file_stay_with_their_plugin(sdd, tmp_path, words, expected):
    (tmp_path / "e.toml").write_text(
        '[train]\nlr = 0.01\noptimizer = {name = "AdamW", eps = 0.5}\n'
    )
    found = written(sdd("run", "e.toml", *FAST, "-q", *words), tmp_path)
    assert found["train"]["optimizer"] == expected


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["--train.optimizer=adamw"], "train.optimizer: unknown optimizer 'adamw'; did you mean "
                                      "AdamW?"),
        (["--train.optimizer=AdamW", "--train.optimizer.betas=0.5,2"],
         "train.optimizer.betas.1: input should be less than 1 (got 2)"),
        (["--train.optimizer.betas=0.5,0.5"], "--train.optimizer.betas"),
        (["--set", "train.optimizer.speed=3"],
         "train.optimizer.speed: there is no such setting"),
        (["--pruner.scope=imp"], "pruner.scope: unknown scope 'imp'"),
        (["--pruner.sparsity=linear", "--pruner.sparsity.over=0"],
         "pruner.sparsity.over: input should be greater than or equal to 1 (got 0)"),
        (["--pruner.sparsity=0.5,x"], "pruner.sparsity"),
        (["--pruner.sparsity=linear", "--pruner.sparsity.over=2", "--levels=3"],
         "pruner.sparsity 'linear' has 2 levels"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_one_line(sdd, tmp_path, words, what):
    assert what in refused(sdd("run", *words))
    assert not list(tmp_path.rglob("level.json"))


def test_help_has_those_of_the_plugin_that_is_chosen(sdd):
    shown = sdd("run", *ADAM, "--help").stdout
    assert "--train.optimizer.amsgrad" in shown
    assert "--train.optimizer.momentum" not in shown
    usual = sdd("run", "--help").stdout
    assert "--train.optimizer.momentum" in usual
    assert "--train.optimizer.amsgrad" not in usual


@pytest.mark.slow
def test_a_sweep_over_them_is_labelled_by_them(sdd, tmp_path):
    (tmp_path / "s.toml").write_text(
        'levels = 0\n[model]\nwidths = [8]\n[train]\nepochs = 1\nlr = 0.01\n'
        'optimizer = ["sgd", "AdamW", {name = "AdamW", eps = 0.5}]\n'
    )
    done = sdd("sweep", "s.toml", "-q", "--workers=1", "--device=cpu")
    assert len(done.stdout.splitlines()) == 3, done.output
    plotted = sdd("plot", "--output", "f.svg", *done.stdout.split())
    assert plotted.exit_code == 0, plotted.output
    rows = csv.DictReader((tmp_path / "f.csv").open())
    assert [row["group"] for row in rows] == [
        "optimizer sgd",
        "optimizer AdamW, optimizer.eps 1e-08",
        "optimizer AdamW, optimizer.eps 0.5",
    ]

import json
import os
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from cli.conftest import FAST, refused

SDD = [sys.executable, "-c", "from sdd_core.cli import main; main()"]


def run_name(done) -> str:
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)["run"]


def test_json_is_one_document_of_the_documented_shape(sdd):
    done = sdd("run", *FAST, "--json")
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert done.stdout.count("\n") == 1
    assert document.keys() >= {"run", "levels", "phases"}
    assert [level["level"] for level in document["levels"]] == [0, 1]
    for level, sparsity in zip(document["levels"], (0.0, 0.2), strict=True):
        assert level["sparsity"] == pytest.approx(sparsity, abs=0.01)
        assert level["density"] == 1 - level["sparsity"]
        for metric in ("test_accuracy", "train_accuracy", "learning_distance"):
            assert isinstance(level["metrics"][metric], float)
    assert set(document["phases"]) >= {"light", "critical", "sweet", "collapsed", "verdict"}
    # Progress goes to standard error, one line a level.
    assert [line.split()[:2] for line in done.stderr.splitlines()] == [
        ["run", document["run"]], ["level", "0/1"], ["level", "1/1"],
    ]


def test_a_run_prints_its_table_and_where_its_files_are(sdd, tmp_path):
    done = sdd("run", *FAST)
    folder = next((tmp_path / "runs").glob("digits-*"))
    for words in ("sparsity %", "recommended: ", f"runs/{folder.name}"):
        assert words in done.stdout
    for name in ("levels.csv", "figure.png", "figure.svg"):
        assert (folder / "report" / name).stat().st_size > 0


def test_quiet_prints_the_folder_alone(sdd, tmp_path):
    done = sdd("run", *FAST, "--quiet")
    assert done.stderr == ""
    assert (tmp_path / done.stdout.strip() / "experiment.toml").is_file()
    assert sdd("run", *FAST, "--quiet", "--json").stderr == ""


def test_file_set_and_options_mean_the_same_experiment(sdd, tmp_path):
    (tmp_path / "e.toml").write_text(
        'levels = 1\nnoise = {name = "symmetric", rate = 0.3}\n'
        "[train]\nepochs = 1\nlr = 0.05\n[model]\nwidths = [8]\n"
    )
    names = {
        run_name(sdd("run", "e.toml", "--json", "--device", "cpu")),
        run_name(sdd("run", *FAST, "--noise.rate", "0.3", "--train.lr", "0.05", "--json")),
        run_name(sdd("run", "--set", "levels=1", "--set", "train.epochs=1", "--set",
                     "model.widths=[8]", "--set", "noise.rate=0.3", "--set", "train.lr=0.05",
                     "--json", "--device", "cpu")),
    }
    assert len(names) == 1


def test_what_is_nearer_to_the_user_wins(sdd, tmp_path):
    (tmp_path / "e.toml").write_text("levels = 0\n[train]\nepochs = 5\nlr = 0.5\n")
    done = sdd("run", "e.toml", "--set", "train.epochs=3", "--set", "train.lr=0.2",
               "--train.epochs", "1", "--model.widths", "8", "--quiet")
    text = (tmp_path / done.stdout.strip() / "experiment.toml").read_text()
    settings = tomllib.loads(text)
    assert settings["train"]["epochs"] == 1
    assert settings["train"]["lr"] == 0.2
    assert settings["levels"] == 0


def test_the_recorded_experiment_repeats_the_run(sdd, finished, tmp_path):
    folder = next(finished.glob("digits-*"))
    again = json.loads(sdd("run", folder / "experiment.toml", "--json").stdout)
    assert again["run"] == folder.name
    first = json.loads(sdd("report", folder, "--output", tmp_path / "r", "--json").stdout)
    assert again["levels"] == first["levels"]


def test_another_plugin_does_not_inherit_the_options_of_the_one_in_the_file(sdd, tmp_path):
    (tmp_path / "e.toml").write_text('[noise]\nname = "symmetric"\namong = "others"\n')
    done = sdd("run", "e.toml", "--noise", "pair-flip", *FAST, "--quiet")
    assert done.exit_code == 0, done.output


def test_a_run_goes_on_with_more_levels(sdd):
    first = json.loads(sdd("run", *FAST, "--json").stdout)
    more = sdd("run", *FAST, "--levels", "2", "--json")
    assert "level 1/2" in more.stderr
    assert more.stderr.count("reused") == 2
    document = json.loads(more.stdout)
    assert document["run"] == first["run"]
    assert document["levels"][:2] == first["levels"]
    assert len(document["levels"]) == 3


def test_resume_takes_a_name_the_beginning_of_one_or_a_folder(sdd, tmp_path):
    first = json.loads(sdd("run", *FAST, "--json").stdout)
    for word in (first["run"], first["run"][:8], f"runs/{first['run']}"):
        done = sdd("resume", word, "--json")
        assert json.loads(done.stdout) == first
        assert done.stderr.count("reused") == 2


def test_resume_refuses_a_run_whose_experiment_was_changed(sdd, tmp_path):
    run = json.loads(sdd("run", *FAST, "--json").stdout)["run"]
    file = tmp_path / "runs" / run / "experiment.toml"
    before = file.read_text()
    file.write_text(before.replace("seed = 0", "seed = 1"))
    kept = sorted(tmp_path.rglob("*"))
    line = refused(sdd("resume", run))
    assert f"runs/{run}/experiment.toml has changed since the run was made" in line
    assert sorted(tmp_path.rglob("*")) == kept
    file.write_text(before)
    assert sdd("resume", run, "--quiet").exit_code == 0


def test_help_lists_the_options_of_the_chosen_plugins(sdd):
    text = " ".join(sdd("run", "--pruner", "gradient", "--help").stdout.split())
    assert "--pruner.batches INTEGER" in text
    assert "--train.epochs INTEGER passes over the training set; 0: measure" in text
    assert "--model.widths INTEGER LIST" in text
    assert "--pruner.batches" not in sdd("run", "--help").stdout


@pytest.mark.parametrize("command", ["run", "inspect", "sweep", "report"])
def test_help_has_a_short_name_everywhere(sdd, command):
    long = sdd(command, "--help")
    assert long.exit_code == 0
    assert sdd(command, "-h").stdout == long.stdout


@pytest.mark.parametrize("word", ["8", "8,4", "[8, 4]"])
def test_a_list_is_written_with_commas_or_as_toml(sdd, tmp_path, word):
    done = sdd("run", *FAST[:4], "--model.widths", word, "--quiet")
    text = (tmp_path / done.stdout.strip() / "experiment.toml").read_text()
    expected = [8] if word == "8" else [8, 4]
    assert tomllib.loads(text)["model"]["widths"] == expected


@pytest.mark.slow
def test_ctrl_c_stops_with_one_line_and_the_same_command_goes_on(tmp_path):
    command = [*SDD, "run", *FAST, "--levels", "300", "--store", str(tmp_path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                             env=environment)
    for _ in range(3):  # the run's name and two levels
        child.stderr.readline()
    child.send_signal(signal.SIGINT)
    output, errors = child.communicate()
    assert child.returncode == 130
    assert output == ""
    lines = errors.splitlines()
    assert lines[-1] == "stopped; run the same command again to resume"
    assert all(line.startswith("level ") for line in lines[:-1])
    command[command.index("300")] = "2"
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert done.stderr.count("reused") >= 2


def test_metric_adds_to_those_that_are_measured_anyway(sdd, tmp_path):
    def metrics(*words):
        done = sdd("run", *FAST, "--json", *words)
        assert done.exit_code == 0, done.output
        return set(json.loads(done.stdout)["levels"][1]["metrics"])

    usual = metrics()
    more = metrics("--metric", "sharpness", "--metric", "interpolation")
    assert more - usual == {
        "sharpness", "worst_sharpness",
        "loss_barrier_to_before", "loss_on_the_way_to_before",
    }  # fmt: skip
    assert usual < more
    done = sdd("run", *FAST, "--json", "--metric", "accuracy", "--metric", "sharpness")
    recorded = Path(json.loads(done.stdout)["folder"]) / "experiment.toml"
    measured = [str(metric) for metric in tomllib.loads(recorded.read_text())["metrics"]]
    assert sorted(set(measured)) == sorted(measured), "none is measured twice"
    (tmp_path / "e.toml").write_text('metrics = ["accuracy"]\n')
    few = metrics("e.toml", "--metric", "sharpness")
    assert {"test_accuracy", "sharpness"} <= few < more
    assert "learning_distance" not in few
    unknown = sdd("run", *FAST, "--metric", "sharpnes")
    assert unknown.exit_code == 2
    assert "did you mean sharpness" in unknown.stderr

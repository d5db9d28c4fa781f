"""`sdd sweep`."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from cli.conftest import refused
from sdd_core import load_plugins
from sdd_core.files.entries import level_folder
from sdd_core.sweeps import expand
from sdd_core.sweeps.plan import Plan

SETTINGS = """
seed = [0, 1]
levels = 1
kernels = "none"
train.epochs = 1
model = {name = "mlp", widths = [4]}
[[pruner]]
name = "imp"
[[pruner]]
name = "random"
fraction = [0.3, 0.5]
"""

Sdd = Callable[..., Result]


@pytest.fixture(autouse=True)
def file(tmp_path: Path) -> Path:
    (tmp_path / "sweep.toml").write_text(SETTINGS)
    return tmp_path / "sweep.toml"


def test_a_dry_run_counts_and_does_nothing(sdd: Sdd, tmp_path: Path, file: Path) -> None:
    done = sdd("sweep", file, "--dry-run")
    assert done.exit_code == 0
    # 2 dense networks, and one level for each of 2 * 3 runs.
    assert done.stdout == ("6 runs\n8 levels, 2 of them shared by several runs\n"
                           "0 already in the store\n8 to train\n")
    assert [one.name for one in tmp_path.iterdir()] == ["sweep.toml"]


def test_a_dry_run_counts_what_is_there(sdd: Sdd, tmp_path: Path, file: Path) -> None:
    for seed in (0, 1):
        done = sdd("run", "--set", "model.widths=[4]", "--levels", 1, "--train.epochs", 1,
                   "--kernels", "none", "--seed", seed, "--device", "cpu", "--quiet")
        assert done.exit_code == 0, done.output
    counts = json.loads(sdd("sweep", file, "--dry-run", "--json").stdout)
    assert counts == {"runs": 6, "levels": 8, "shared": 2, "there": 4, "to_train": 4}
    plan = Plan.of(expand([{"levels": 1, "kernels": "none", "train": {"epochs": 1},
                            "model": {"name": "mlp", "widths": [4]}}], load_plugins()))
    weights = level_folder(tmp_path / "runs", plan.keys[0]) / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    counts = json.loads(sdd("sweep", file, "--dry-run", "--json").stdout)
    assert (counts["there"], counts["to_train"]) == (3, 5)
    # A dry run changes nothing, so it counts the same again.
    assert json.loads(sdd("sweep", file, "--dry-run", "--json").stdout) == counts


@pytest.mark.slow
def test_lines_in_a_pipe_and_what_was_found(sdd: Sdd, file: Path) -> None:
    words = ("sweep", file, "--workers", 2, "--device", "cpu", "--set", "seed=0")
    done = sdd(*words)
    assert done.exit_code == 0, done.output
    lines = done.stderr.splitlines()
    assert lines[0] == ("sweep of 3 runs, 4 levels, 0 of them already in the store (label noise: "
                        "symmetric 0.4)")
    ended = [line for line in lines if line.startswith("run ")]
    assert len(ended) == 3
    assert ended[2].endswith("done (runs 3/3, levels 4/4)")
    # Where a run takes long, there are lines in between that say how far the sweep is.
    assert all(line.startswith("runs ") for line in lines[1:] if line not in ended)
    found = done.stdout.splitlines()
    assert len(found) == 4
    assert all("seed0" in line for line in found[1:])
    again = sdd(*words, "--json")
    assert again.stderr.startswith("sweep of 3 runs, 4 levels, 4 of them already in the store (")
    documents = json.loads(again.stdout)
    assert [line.split()[0] for line in found[1:]] == [one["run"] for one in documents]
    assert [len(one["levels"]) for one in documents] == [2, 2, 2]
    quiet = sdd(*words, "--quiet")
    assert quiet.stderr == ""
    assert quiet.stdout.split() == [one["folder"] for one in documents]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--set", "noise.rate=[0, 2]"), ["noise.rate", "got 2"]),
        (("--set", "pruner.fraction=0.1"), ["--set pruner.fraction", "has a list for pruner"]),
        (("--set", "levels=[1, 2]"), ["levels", "one run"]),
        (("--executor", "loc"), ["unknown executor 'loc'", "local"]),
        (("--executor.threads", "0"), ["executor.threads", "got 0"]),
        (("--executor.threads", "many"), ["executor.threads", "'many'"]),
        (("--executor.address", "x"), ["--executor.address"]),
        (("--executor", "ray", "--executor.cpus", "0"), ["executor.cpus", "got 0"]),
        (("--workers", "0"), ["--workers"]),
        (("none.toml",), ["none.toml"]),
    ],
)
def test_bad_input_is_one_line(
    sdd: Sdd, tmp_path: Path, file: Path, words: tuple[str, ...], said: list[str]
) -> None:
    line = refused(sdd("sweep", file, *words))
    assert all(word in line for word in said)
    assert not (tmp_path / "runs").exists()


def test_help_shows_the_options_of_the_chosen_executor(sdd: Sdd) -> None:
    assert "--executor.threads" in sdd("sweep", "--help").stdout
    shown = sdd("sweep", "--executor", "ray", "--help").stdout
    assert "--executor.cpus" in shown
    assert "--executor.threads" not in shown

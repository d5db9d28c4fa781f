"""Whole sweeps, in processes of their own, that are killed and go on."""

import json
import os
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch
from support import contents, draws, last_level_held
from torch import nn
from waiting import wait_until

import sdd_core
from sdd_core import SddError, load_plugins
from sdd_core.sweeps import SweepError, expand
from sdd_core.sweeps.plan import Plan

pytestmark = pytest.mark.slow

SEEDS, PRUNERS = [0, 1], ["imp", "random"]
FILE = """
seed = [0, 1]
pruner = ["imp", "random"]
levels = 2
kernels = "none"
model = {name = "mlp", widths = [16]}
train.epochs = 12
"""
SETTINGS: dict[str, Any] = tomllib.loads(FILE)
SDD = [sys.executable, "-c", "from sdd_core.cli import main; main()"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def command(folder: Path, *more: str) -> list[str]:
    """Sweep the file in a folder, with a checkpoint after every epoch."""
    file = folder / "sweep.toml"
    if not file.exists():
        file.write_text(FILE)
    return [*SDD, "sweep", str(file), "--store", str(folder / "runs"), "--workers", "2",
            "--executor.threads", "1", "--checkpoint-minutes", "0", "--device", "cpu", *more]


def go(folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(folder, *more), capture_output=True, text=True, env=ENVIRONMENT,
                          check=False)


def results(store: Path) -> dict[str, bytes]:
    """The levels in a store, and what was measured on them."""
    files = contents(store)
    return {name: content for name, content in files.items()
            if name.startswith(".shared/levels/") or name.endswith("/metrics.jsonl")}


def files_in(folder: Path) -> set[str]:
    """What is in a folder right now; walking does not mind that files come and go."""
    return {os.path.join(place, name) for place, _, names in os.walk(folder) for name in names}


def levels_in(folder: Path) -> int:
    """How many of the 10 levels of the sweep there are."""
    return len(next(os.walk(folder / "runs" / ".shared" / "levels"), ((), ()))[1])


def checkpoints_in(folder: Path) -> bool:
    """Whether a level is in the middle of its training."""
    return any((folder / "runs" / ".shared" / "checkpoints").glob("*.safetensors"))


@pytest.fixture(scope="module")
def one_by_one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store in which the runs were carried out in this process, one after another."""
    store = tmp_path_factory.mktemp("one_by_one")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for seed in SEEDS:
            for pruner in PRUNERS:
                settings = {**SETTINGS, "seed": seed, "pruner": pruner}
                sdd_core.run(settings, store=store, device="cpu")
    finally:
        torch.set_num_threads(threads)
    return store


def test_a_sweep_is_its_runs_one_by_one(one_by_one: Path, tmp_path: Path) -> None:
    found = sdd_core.sweep(SETTINGS, store=tmp_path, device="cpu",
                           executor={"name": "local", "workers": 2, "threads": 1})
    assert results(tmp_path) == results(one_by_one)
    # The dense network of each seed is there once: 2 + 2 * 2 * 2 levels.
    assert len(list((tmp_path / ".shared" / "levels").iterdir())) == 10
    assert [(one.experiment.seed, one.experiment.pruner.name) for one in found] == [
        (seed, pruner) for seed in SEEDS for pruner in PRUNERS
    ]
    alone = sdd_core.run({**SETTINGS, "seed": 1, "pruner": "imp"}, store=one_by_one, device="cpu")
    assert found[2].run == alone.run
    assert found[2].to_json()["levels"] == alone.to_json()["levels"]


def test_killed_five_times_it_ends_as_if_it_had_not_been(one_by_one: Path, tmp_path: Path) -> None:
    after = draws(20, 0, 20)
    for wanted in (0, 1, 3, 5, 7):
        came = files_in(tmp_path)
        with last_level_held(SETTINGS, tmp_path / "runs"):
            process = subprocess.Popen(command(tmp_path, "--quiet"), env=ENVIRONMENT,
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                       start_new_session=True)
            # The clock runs from a file more and from so many of the 10 levels, not from the start
            # of an interpreter.
            wait_until(lambda came=came: files_in(tmp_path) != came, process)
            wait_until(lambda wanted=wanted: levels_in(tmp_path) >= wanted, process)
            time.sleep(after() / 1000)
            os.killpg(process.pid, signal.SIGKILL)
            assert process.wait() == -signal.SIGKILL
    assert go(tmp_path).returncode == 0
    assert results(tmp_path / "runs") == results(one_by_one)
    assert sdd_core.table(tmp_path / "runs") == sdd_core.table(one_by_one)


def test_a_worker_that_is_killed_in_a_level_is_replaced(one_by_one: Path, tmp_path: Path) -> None:
    with last_level_held(SETTINGS, tmp_path / "runs"):
        process = subprocess.Popen(command(tmp_path, "--workers", "1"), env=ENVIRONMENT, text=True,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        # Nobody has to see a checkpoint, which is there for the time that a level takes.
        wait_until(lambda: checkpoints_in(tmp_path) or levels_in(tmp_path) == 9, process)
        kill_child(process.pid)
    _, said = process.communicate()
    assert process.returncode == 0, said
    assert said.count("died (signal 9)") == 1
    assert results(tmp_path / "runs") == results(one_by_one)


def test_interrupted_on_the_keyboard_it_stops_at_once_and_says_so(tmp_path: Path) -> None:
    with last_level_held(SETTINGS, tmp_path / "runs"):
        process = subprocess.Popen(command(tmp_path), env=ENVIRONMENT, text=True,
                                   start_new_session=True,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        wait_until(lambda: checkpoints_in(tmp_path) or levels_in(tmp_path) == 9, process)
        # To the workers too, as a terminal does.
        os.killpg(process.pid, signal.SIGINT)
        found, said = process.communicate()
    assert process.returncode == 130
    assert found == ""
    assert said.splitlines()[-1] == "stopped; run the same command again to resume"
    assert "Traceback" not in said
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


def test_a_failing_run_is_told_at_the_end_and_the_others_are_done(tmp_path: Path) -> None:
    (tmp_path / "sweep.toml").write_text("""
levels = 1
kernels = "none"
data.examples = [50, 100000]
model = {name = "mlp", widths = [4]}
train.epochs = [1, 2]
""")
    done = go(tmp_path, "--json")
    assert done.returncode == 1
    assert len(json.loads(done.stdout)) == 2
    told = [line for line in done.stderr.splitlines() if line.startswith("sdd: run")]
    assert len(told) == 2
    assert all("data.examples is 100000" in line for line in told)
    assert "2 of 4 runs failed" in done.stderr
    assert "Traceback" not in done.stderr


def test_failures_in_python(tmp_path: Path) -> None:
    settings = {**SETTINGS, "seed": 0, "pruner": "imp", "levels": 0,
                "train": {"epochs": 1}, "data": {"examples": [50, 100_000]}}
    with pytest.raises(SweepError, match=r"1 of 2 runs failed: .*data\.examples") as told:
        sdd_core.sweep(settings, store=tmp_path, workers=2, device="cpu")
    [failed] = told.value.failures
    [result] = told.value.results
    names = Plan.of(expand([settings], load_plugins())).names
    assert [result.run, failed] == list(names)


def test_networks_and_data_that_are_handed_over(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
    draw = torch.Generator().manual_seed(0)
    images, labels = torch.rand(40, 6, generator=draw), torch.arange(40) % 3
    data = ((images[:30], labels[:30]), (images[30:], labels[30:]))
    settings = {"model": network, "data": data, "levels": 1, "train": {"epochs": 1},
                "kernels": "none"}
    found = sdd_core.sweep({**settings, "seed": [0, 1]}, store=tmp_path / "sweep", device="cpu",
                           workers=1)
    for seed, result in enumerate(found):
        alone = sdd_core.run({**settings, "seed": seed}, store=tmp_path / "run", device="cpu")
        assert result.run == alone.run
        assert result.to_json()["levels"] == alone.to_json()["levels"]


def test_what_is_impossible_is_refused_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(SddError, match=r"noise\.rate.*got 2"):
        sdd_core.sweep({"noise": {"rate": [0.2, 2]}}, store=tmp_path / "runs")
    with pytest.raises(SddError, match="unknown executor 'loc'; did you mean local"):
        sdd_core.sweep({"seed": [0, 1]}, store=tmp_path / "runs", executor="loc")
    with pytest.raises(SddError, match=r"executor\.workers"):
        sdd_core.sweep({"seed": [0, 1]}, store=tmp_path / "runs", workers=0)
    assert not (tmp_path / "runs").exists()


def kill_child(parent: int) -> None:
    """Kill the child of a process; a thread of it may have started it."""
    tasks = Path(f"/proc/{parent}/task").glob("*/children")
    [child] = [child for task in tasks for child in task.read_text().split()]
    os.kill(int(child), signal.SIGKILL)

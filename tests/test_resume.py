"""A run that was killed ends bit for bit as one that was never interrupted."""

import signal
import subprocess
import sys
import textwrap
import time

import pytest
import torch
from support import KillMyself, contents, draws, go, in_child, needs_muon, small
from training.test_levels_that_differ import Changing

from sdd_core import hookimpl
from sdd_core.files import atomic
from sdd_core.training import loop as training

pytestmark = pytest.mark.slow

SCHEDULES = [
    "finetune",
    "lr-rewind",
    {"name": "rewind", "to": 0},
    {"name": "rewind", "to": 3},
    "scratch",
]
VARIANTS = {
    "another optimizer": {
        "train": {"epochs": 2, "optimizer": "AdamW", "lr": 0.01, "weight_decay": 0.1},
        "retrain": "lr-rewind",
    },
    "a teacher and a penalty": {
        "train": {"epochs": 2, "distance_penalty": 0.3, "decay": "cosine", "warmup_epochs": 0.5},
        "loss": "sparse-distillation",
        "ablation": "re-dense",
    },
    "held weights": {
        "train": {"epochs": 3, "stop_loss": 2.0},
        "retrain": {"name": "scratch", "pruned": "permuted"},
        "ablation": "shuffle",
    },
    "masks that move by gradients": {
        "train": {"epochs": 2},
        "sparse_training": {"name": "rigl", "every": 3},
    },
    "masks that thin out": {
        "train": {"epochs": 2, "optimizer": "AdamW", "lr": 0.01},
        "retrain": "scratch",
        "sparse_training": {"name": "gmp", "every": 3},
    },
    "an observing pruner, masks that move and an optimizer of named weights": {
        "train": {"epochs": 2, "optimizer": "muon", "lr": 0.02},
        "pruner": {"name": "movement", "fraction": 0.4},
        "sparse_training": {"name": "rigl", "every": 3},
    },
    "levels that differ": {
        "train": {"epochs": 2},
        "retrain": Changing(until=1),
        "ablation": "re-dense",
    },
    "two gradients a step": {
        "model": {"name": "mlp", "widths": [16]},
        "train": {"epochs": 2, "optimizer": "sam", "weight_decay": 0.01},
        "retrain": {"name": "rewind", "to": 3},
        "ablation": "re-dense",
    },
    "matrices": {
        "train": {"epochs": 2, "optimizer": "muon", "lr": 0.02, "weight_decay": 0.1},
        "retrain": "lr-rewind",
        "pruner": "taylor",
    },
    "an observing pruner": {
        "train": {"epochs": 2},
        "pruner": {"name": "movement", "fraction": 0.4},
        "retrain": {"name": "rewind", "to": 3},
    },
    "a pruner that observes an epoch": {
        "train": {"epochs": 3, "stop_loss": 2.0, "optimizer": "Adam", "lr": 0.003},
        "pruner": {"name": "fisher", "fraction": 0.4},
        "retrain": "lr-rewind",
    },
    "one shot": {
        "train": {"epochs": 2},
        "loss": "generalised-cross-entropy",
        "pruner": {"name": "random", "from_dense": True, "scope": "layer", "exempt": []},
        "ablation": "reinit",
        "data": {"name": "digits", "examples": 400},
    },
}
NETWORK = """
    from torch import nn

    def small(num_classes, drop=0.3):
        return nn.Sequential(
            nn.Conv2d(1, 4, 3, stride=2), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(),
            nn.Dropout(drop), nn.Linear(36, num_classes),
        )
"""


@pytest.fixture(autouse=True)
def one_thread():
    """The number of threads decides the last bits, and forked processes have only one."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def own_network(tmp_path, monkeypatch):
    """The name of a network with dropout and batch normalisation, in a module of the user's."""
    (tmp_path / "own_network.py").write_text(textwrap.dedent(NETWORK))
    monkeypatch.syspath_prepend(tmp_path)
    yield "own_network:small"
    sys.modules.pop("own_network", None)


class Killer:
    """Kills the process at the n-th thing that happens in the run."""

    def __init__(self, after):
        self.count = KillMyself(after)

    @hookimpl
    def sdd_level_start(self):
        self.count()

    @hookimpl
    def sdd_epoch_start(self):
        self.count()

    @hookimpl
    def sdd_epoch_end(self):
        self.count()

    @hookimpl
    def sdd_level_end(self):
        self.count()


def until_done(work, limit=80):
    """Start some work again until it is not killed; the number of times that it was."""
    for kills in range(limit):
        ended = in_child(lambda kills=kills: work(kills))
        if ended == 0:
            return kills
        assert ended == -signal.SIGKILL
    pytest.fail(f"killed {limit} times and not done")


def assert_same_run(one, other):
    assert {p.name for p in one.iterdir()} == {p.name for p in other.iterdir()}
    found, expected = contents(one), contents(other)
    assert found.keys() == expected.keys()
    for name in expected:
        assert found[name] == expected[name], name


def run_folder(store):
    (folder,) = (path for path in store.iterdir() if path.name != ".shared")
    return folder


@pytest.mark.parametrize(
    ("retrain", "engine"), [*((s, "auto") for s in SCHEDULES), (SCHEDULES[3], "none")], ids=str
)
def test_killed_at_random_moments(tmp_path, retrain, engine):
    settings = small(retrain=retrain, kernels=engine)
    whole = go(settings, tmp_path / "whole")
    after = draws(len(str(retrain)), 2, 9)

    moments = [after() for _ in range(80)]

    def work(kills):
        killer = Killer(moments[kills])
        go(settings, tmp_path / "killed", checkpoint_minutes=0, observers=[killer])

    assert until_done(work) >= 2
    assert_same_run(run_folder(tmp_path / "killed"), whole.folder)
    assert not list((tmp_path / "killed" / ".shared" / "checkpoints").iterdir())


@pytest.mark.parametrize("pruner", ["imp", "gradient", "random"])
def test_dropout_and_batch_normalisation_go_on(tmp_path, own_network, monkeypatch, pruner):
    """A checkpoint every second step, and a kill in the midst of epochs."""
    monkeypatch.setattr(training, "CHUNK", 2)
    settings = small(
        model=own_network, pruner=pruner, retrain={"name": "rewind", "to": 3}, train={"epochs": 2}
    )
    whole = go(settings, tmp_path / "whole")
    after = draws(7, 8, 30)
    moments = [after() for _ in range(80)]

    def work(kills):
        count, sync = KillMyself(moments[kills]), atomic._sync
        atomic._sync = lambda path: (count(), sync(path))
        go(settings, tmp_path / "killed", checkpoint_minutes=0)

    assert until_done(work) >= 3
    assert_same_run(run_folder(tmp_path / "killed"), whole.folder)


@pytest.mark.parametrize("variant", [
    pytest.param(name, marks=[needs_muon] * (settings["train"].get("optimizer") == "muon"))
    for name, settings in VARIANTS.items()
])  # fmt: skip
def test_every_way_of_training_goes_on(tmp_path, monkeypatch, variant):
    monkeypatch.setattr(training, "CHUNK", 3)
    settings = small(**VARIANTS[variant])
    whole = go(settings, tmp_path / "whole")
    after = draws(len(variant), 8, 30)
    moments = [after() for _ in range(80)]

    def work(kills):
        count, sync = KillMyself(moments[kills]), atomic._sync
        atomic._sync = lambda path: (count(), sync(path))
        go(settings, tmp_path / "killed", checkpoint_minutes=0)

    assert until_done(work) >= 2
    assert_same_run(run_folder(tmp_path / "killed"), whole.folder)


def test_dropout_draws_and_statistics_matter(tmp_path, own_network):
    """That the test above can fail: another seed or no dropout gives other weights."""
    one = contents(go(small(model=own_network, levels=0), tmp_path / "a").folder)
    name = "levels/00/weights.safetensors"
    for changed in ({"seed": 1}, {"model": {"name": own_network, "drop": 0.2}}):
        other = go(small(**{"model": own_network, "levels": 0, **changed}), tmp_path / "b")
        assert contents(other.folder)[name] != one[name]


def test_killed_at_every_write(tmp_path):
    """The process dies at one write to the disk after the other, and each time goes on."""
    settings = small(levels=1, train={"epochs": 2})
    whole = go(settings, tmp_path / "whole")

    def work(kills):
        count, sync = KillMyself(kills + 1), atomic._sync
        atomic._sync = lambda path: (count(), sync(path))
        go(settings, tmp_path / "killed", checkpoint_minutes=0)

    assert until_done(work) >= 5
    assert_same_run(run_folder(tmp_path / "killed"), whole.folder)
    rest = [path.name for path in (tmp_path / "killed" / ".shared").rglob("*.partial")]
    assert rest == []


def test_kill_minus_nine(tmp_path):
    """Real processes, killed from outside by the clock. They cannot end before: those that are to
    be killed stop short of the last level."""
    settings = small(retrain={"name": "rewind", "to": 3}, train={"epochs": 15})
    whole = go(settings, tmp_path / "whole")
    program = f"""
        import signal, sys
        import sdd_core, torch

        class Tell:
            @sdd_core.hookimpl
            def sdd_level_start(self, level):
                if level == {settings["levels"]} and sys.argv[1] == "kill":
                    signal.pause()

            @sdd_core.hookimpl
            def sdd_epoch_end(self, level, epoch):
                print(level, epoch.number, flush=True)

        torch.set_num_threads(1)
        sdd_core.run({settings!r}, store={str(tmp_path / "killed")!r}, device="cpu",
                     checkpoint_minutes=0, observers=[Tell()])
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    pause = draws(3, 0, 200)
    for kill in (True, True, False):
        process = subprocess.Popen([*command, "kill" if kill else ""], stdout=subprocess.PIPE)
        assert process.stdout is not None
        if kill:
            assert process.stdout.readline()
            time.sleep(pause() / 1000)
            process.kill()
        process.stdout.read()
        process.stdout.close()
        assert process.wait() == (-signal.SIGKILL if kill else 0)
    assert_same_run(run_folder(tmp_path / "killed"), whole.folder)


def test_a_level_in_progress_goes_on_from_its_checkpoint(tmp_path):
    """It is not that everything is trained again: epochs before the checkpoint are not."""
    settings = small(levels=0, train={"epochs": 6})
    assert in_child(lambda: go(settings, tmp_path, checkpoint_minutes=0,
                               observers=[Killer(8)])) == -signal.SIGKILL  # in epoch 4
    seen = []

    class Note:
        @hookimpl
        def sdd_epoch_end(self, epoch):
            seen.append(epoch.number)

    result = go(settings, tmp_path, observers=[Note()])
    assert seen == [4, 5, 6]
    assert [epoch["number"] for epoch in result.levels[0].epochs] == [1, 2, 3, 4, 5, 6]

"""Levels without training: networks measured as they are, and pruned networks not retrained."""

from __future__ import annotations

import json

import click.testing
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from support import Log, contents, go, small
from torch import Tensor, nn

import sdd_core
from sdd_core import Dense, Experiment, Retraining, Schedule, SddError, by_learning_distance, group
from sdd_core.cli import main
from sdd_core.experiment.keys import level_keys
from sdd_core.report import write_report
from sdd_core.runs.store import Store
from sdd_core.testing.retrain import killed_and_resumed
from sdd_core.training.recalibration import recalibrate, recalibrated_norms
from sdd_core.training.setup import ExperimentSetup
from sdd_plugins.schedules.finetune import Finetune
from sdd_plugins.schedules.rewind import Rewind

SCHEDULES = ["finetune", "lr-rewind", "rewind", "scratch"]


def setup(**sections) -> ExperimentSetup:
    """The small experiment on 1,347 digits, 11 steps an epoch."""
    return ExperimentSetup(Experiment.make(small(noise="none", **sections)), None,
                           torch.device("cpu"))


def stored(run, level: int):
    found = Store(run.folder.parent).load_level(run.levels[level].key)
    assert found is not None
    return found


class Normed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(64, 12)
        self.norm = nn.BatchNorm1d(12)
        self.drop = nn.Dropout(0.5)
        self.last = nn.Linear(12, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.drop(self.norm(self.first(x.flatten(1))).relu()))


# Without training


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_nothing_is_trained(tmp_path, schedule):
    log = Log()
    run = go(small(train={"epochs": 0}, retrain=schedule), tmp_path, observers=[log])
    assert run.sparsity == pytest.approx([0, 0.4, 0.64], abs=1e-3)
    dense = stored(run, 0)
    assert run.levels[0].metrics["learning_distance"] == 0
    for number, row in enumerate(run.levels):
        level = stored(run, number)
        for name, weight in level.state.items():
            kept = level.masks.get(name, torch.ones_like(weight, dtype=torch.bool))
            if schedule != "scratch":
                assert torch.equal(weight, dense.state[name] * kept)
            assert not weight[~kept].any()
        [epoch] = row.epochs
        assert (epoch["number"], epoch["step"], epoch["learning_rate"]) == (0, 0, 0.0)
        assert row.metrics["test_accuracy"] == row.metrics["best_test_accuracy"]
        assert row.metrics["best_epoch"] == 0
        assert row.metrics["train_loss"] == epoch["train_loss"] > 0
    assert log.epochs == []
    assert all(level["learning_rate"] == 0 for row in run.levels for level in row.epochs)


def test_it_is_measured_as_it_is(tmp_path):
    """The numbers are those of the network itself."""
    torch.manual_seed(0)
    network = Normed()
    with torch.no_grad():
        network.norm.running_mean.normal_()
    run = go(small(model=network, noise="none", train={"epochs": 0}, levels=0), tmp_path)
    data = setup().data
    with torch.no_grad():
        images = (data.test.images.float() / data.scale if not data.mean else
                  (data.test.images / data.scale - torch.tensor(data.mean).view(-1, 1, 1))
                  / torch.tensor(data.std).view(-1, 1, 1))
        hits = network.eval()(images).argmax(1) == data.test.labels
    assert run.levels[0].metrics["test_accuracy"] == pytest.approx(hits.float().mean().item())
    for name, tensor in network.state_dict().items():
        assert torch.equal(stored(run, 0).state[name], tensor)


def test_only_the_retraining_may_be_left_out(tmp_path):
    run = go(small(retrain={"name": "lr-rewind", "epochs": 0}), tmp_path)
    before, after = stored(run, 0), stored(run, 1)
    assert [len(level.epochs) for level in run.levels] == [3, 1, 1]
    for name, mask in after.masks.items():
        assert torch.equal(after.state[name], before.state[name] * mask)
    assert run.levels[1].metrics["learning_distance"] > 0


def test_rewinding_without_training_counts_from_its_point(tmp_path):
    run = go(small(retrain={"name": "rewind", "to": 13, "epochs": 0}, levels=1), tmp_path)
    [epoch] = run.levels[1].epochs
    assert (epoch["number"], epoch["step"]) == (1, 13)


@pytest.mark.parametrize("sections", [
    {"train": {"epochs": 0}},
    {"retrain": {"name": "finetune", "epochs": 0, "recalibrate": 3}, "model": Normed},
    {"train": {"epochs": 0}, "retrain": {"name": "lr-rewind", "epochs": 1, "recalibrate": 2},
     "model": Normed},
])  # fmt: skip
def test_a_run_that_is_continued_ends_like_another(tmp_path, sections):
    whole = go(small(noise="none", **sections), tmp_path / "whole")
    for last in (0, 1, 2):
        parts = go({**small(noise="none", **sections), "levels": last}, tmp_path / "parts")
    found, wanted = contents(parts.folder), contents(whole.folder)
    assert found.keys() == wanted.keys()
    for name in wanted.keys() - {"run.json"}:  # the record has the time
        assert found[name] == wanted[name], name


@pytest.mark.parametrize("plugin", [Rewind(epochs=0, recalibrate=2), Finetune(epochs=0)],
                         ids=["rewind", "finetune"])
def test_a_killed_run_ends_like_another(plugin):
    killed_and_resumed(plugin, retrain=plugin)
    killed_and_resumed(plugin, retrain=plugin, train={"epochs": 0, "batch_size": 48})


def test_the_first_line_says_what_is_not_trained(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def sdd(*words: str) -> click.testing.Result:
        done = CliRunner().invoke(main, words)
        assert done.exit_code == 0, done.output
        return done

    done = sdd("run", "--train.epochs", "0", "--levels", "1", "--store", str(tmp_path))
    assert ", the dense network is not trained, pruned levels are not retrained)" in done.stderr
    done = sdd("run", "--train.epochs", "1", "--retrain.epochs", "0", "--levels", "1", "--store",
               str(tmp_path))
    assert ", pruned levels are not retrained)" in done.stderr
    assert "dense network" not in done.stderr
    [name, *_] = (line.split()[1] for line in done.stderr.splitlines() if line[:4] == "run ")
    sdd("report", name, "--store", str(tmp_path), "--output", str(tmp_path / "r.html"))
    assert (tmp_path / "r.html").exists()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("levels", [0, 1, 9])
def test_everything_that_reads_a_run_takes_one_without_training(tmp_path, levels):
    run = go(small(train={"epochs": 0}, levels=levels), tmp_path)
    write_report(run, tmp_path / "report")
    json.dumps(run.to_json(), allow_nan=False)
    assert "NaN" not in (tmp_path / "report" / "report.html").read_text()
    sdd_core.plot(run, output=tmp_path / "a.png")
    by_learning_distance(group([run])[0])
    assert "nan" not in run._repr_html_()
    assert len(run.levels) == levels + 1


# Epochs of retraining


RATES = np.array([0.8, 0.8, 0.4, 0.4, 0.2, 0.2, 0.1, 0.1])


@pytest.mark.parametrize(("steps", "rates"), [
    (4, [0.8, 0.4, 0.2, 0.1]),
    (16, np.repeat(RATES, 2).tolist()),
    (8, RATES.tolist()),
    (3, [0.8, 0.4, 0.2]),
    (0, []),
])  # fmt: skip
def test_learning_rates_are_squeezed_or_stretched(steps, rates):
    found = Retraining("previous", RATES).over(steps)
    assert found.learning_rates.tolist() == rates
    assert found.masked_steps is None
    assert Retraining("previous", RATES, masked_steps=6).over(4).masked_steps == 3


def rates_of(parts: ExperimentSetup) -> Retraining:
    return parts.retraining(1)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("dense", [4, 0])
def test_each_schedule_takes_its_epochs(schedule, dense):
    parts = setup(train={"epochs": dense, "lr": 0.1}, retrain={"name": schedule, "epochs": 2})
    found = rates_of(parts)
    per_epoch = parts.dense.steps_per_epoch
    if schedule == "finetune":
        wanted = [0.001] * 2 * per_epoch
    else:  # the drops of `steps` after a half and three quarters
        half = per_epoch // 2
        wanted = [0.1] * per_epoch + [0.01] * (per_epoch - half) + [0.001] * half
    np.testing.assert_allclose(found.learning_rates, wanted)
    assert found.start == {"finetune": "previous", "lr-rewind": "previous",
                           "rewind": "rewind point", "scratch": "fresh"}[schedule]


def test_rewinding_squeezes_what_is_left():
    parts = setup(train={"epochs": 4}, retrain={"name": "rewind", "to": 2, "unit": "epoch",
                                               "epochs": 1})
    per_epoch = parts.dense.steps_per_epoch
    found = rates_of(parts)
    assert (found.first_step, len(found.learning_rates)) == (2 * per_epoch, per_epoch)
    assert found.learning_rates[0] == pytest.approx(0.01)
    assert found.learning_rates[-1] == pytest.approx(0.001)


def test_a_point_that_the_dense_network_never_reached_is_refused():
    with pytest.raises(SddError, match="starts at step 5; the dense network trains steps 0 to 0"):
        setup(train={"epochs": 0}, retrain={"name": "rewind", "to": 5, "epochs": 2})


class Own(Schedule):
    """A schedule with an option of its own that has the same name."""

    name = "own"
    epochs: int = 3

    def retraining(self, dense: Dense) -> Retraining:
        return Retraining("previous", np.full(7 * self.epochs, 0.1))


def test_a_schedules_own_epochs_are_its_own():
    assert Own().engine_epochs() is None
    parts = setup(retrain=Own())
    assert len(rates_of(parts).learning_rates) == 21


def test_no_step_is_still_refused_unless_it_was_asked_for():
    class Empty(Own):
        def retraining(self, dense: Dense) -> Retraining:
            return Retraining("previous", np.zeros(0))

    with pytest.raises(SddError, match="leaves no step to train"):
        setup(retrain=Empty())


def test_the_keys_are_those_of_before_unless_the_options_are_set():
    usual = level_keys(Experiment.make(small()))
    keys = [level_keys(Experiment.make(small(retrain={"name": "rewind", **more})))
            for more in ({}, {"epochs": None, "recalibrate": 0}, {"epochs": 0}, {"epochs": 2},
                         {"recalibrate": 4})]
    assert keys[0] == keys[1] == usual
    assert len({found[1] for found in keys}) == 4
    assert {found[0] for found in keys} == {usual[0]}


def test_re_dense_without_a_learning_rate_is_refused():
    with pytest.raises(SddError, match=r"ablation.lr 'last': there is no such learning rate"):
        setup(train={"epochs": 0}, ablation="re-dense")


# Statistics of batch normalisations


def test_statistics_are_the_means_over_the_batches():
    """Two batches of four numbers: means 1.5 and 5.5, variances 5/3 each."""
    network = nn.Sequential(nn.BatchNorm1d(1, momentum=0.3))
    network[0].running_mean.fill_(100)
    network[0].num_batches_tracked.fill_(50)
    recalibrate(network, [torch.arange(4.0).view(4, 1), torch.arange(4.0, 8.0).view(4, 1)])
    assert network[0].running_mean.item() == pytest.approx(3.5)
    assert network[0].running_var.item() == pytest.approx(5 / 3)
    assert (network[0].momentum, network[0].training) == (0.3, False)
    assert network[0].num_batches_tracked == 2


def test_frozen_normalisations_and_those_in_evaluation_stay():
    class Stays(nn.BatchNorm1d):
        def train(self, mode: bool = True) -> Stays:
            return super().train(False)

    network = nn.Sequential(nn.BatchNorm1d(2), Stays(2), nn.BatchNorm1d(2).requires_grad_(False),
                            nn.BatchNorm1d(2, track_running_stats=False))
    assert recalibrated_norms(network) == [network[0]]
    recalibrate(network, [torch.randn(8, 2)])
    for position in (1, 2):
        assert torch.equal(network[position].running_mean, torch.zeros(2))


def test_a_pruned_level_is_recalibrated_and_measured_after_it(tmp_path):
    settings = small(model=Normed, noise="none", train={"epochs": 2})
    retrain = {"name": "lr-rewind", "epochs": 0}
    without = go({**settings, "retrain": retrain}, tmp_path)
    run = go({**settings, "retrain": {**retrain, "recalibrate": 4}}, tmp_path)
    assert run.levels[0].key == without.levels[0].key
    before, after = stored(without, 1), stored(run, 1)
    assert torch.equal(before.state["first.weight"], after.state["first.weight"])
    assert not torch.equal(before.state["norm.running_mean"], after.state["norm.running_mean"])
    assert after.state["norm.num_batches_tracked"] == 4
    assert before.epochs[0].test_loss != after.epochs[0].test_loss
    # Over the whole training set, whose order does not matter, as numpy computes it.
    full = go({**settings, "retrain": {**retrain, "recalibrate": 1}, "train": {
        "epochs": 0, "batch_size": 2000}}, tmp_path)
    level = stored(full, 1)
    parts = setup()
    inputs = parts.resident.train_images.flatten(1)
    hidden = inputs @ level.state["first.weight"].T + level.state["first.bias"]
    torch.testing.assert_close(level.state["norm.running_mean"], hidden.mean(0), rtol=1e-4,
                               atol=1e-5)
    torch.testing.assert_close(level.state["norm.running_var"], hidden.var(0), rtol=1e-4,
                               atol=1e-5)


def test_after_retraining_the_last_epoch_is_that_of_the_new_statistics(tmp_path):
    settings = small(model=Normed, noise="none", train={"epochs": 2}, levels=1)
    one = go({**settings, "retrain": "finetune"}, tmp_path).levels[1].epochs
    two = go({**settings, "retrain": {"name": "finetune", "recalibrate": 5}}, tmp_path)
    other = two.levels[1].epochs
    assert len(one) == len(other) == 2
    assert one[0] == other[0]
    assert one[1]["test_loss"] != other[1]["test_loss"]
    assert two.levels[1].metrics["test_loss"] == other[1]["test_loss"]


def test_recalibration_of_nothing_is_said(tmp_path, capsys):
    go(small(retrain={"name": "rewind", "recalibrate": 3}), tmp_path)
    assert "retrain.recalibrate has no effect" in capsys.readouterr().err


def test_the_record_holds_the_options(tmp_path):
    run = go(small(train={"epochs": 0}, retrain={"name": "rewind", "epochs": 0}), tmp_path)
    again = Experiment.make(run.experiment.to_dict())
    assert again == run.experiment
    assert json.loads((run.folder / "levels/00/epochs.jsonl").read_text())["number"] == 0

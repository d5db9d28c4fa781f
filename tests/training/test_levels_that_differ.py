"""Schedules that retrain levels differently."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support import contents, go, small
from torch import nn

from sdd_core import Dense, Experiment, Retraining, Schedule, SddError, load_plugins
from sdd_core.experiment.keys import dense_key, digest, level_keys
from sdd_core.sweeps import expand
from sdd_core.sweeps.estimate import Estimate
from sdd_core.sweeps.plan import Plan
from sdd_core.sweeps.work import RunOptions, execute


class Changing(Schedule):
    """Rewinds at early levels, and finetunes for one epoch with small rates at later ones."""

    name = "changing"
    until: int = 2
    late: str = "previous"

    def retraining(self, dense: Dense) -> Retraining:
        if dense.level <= self.until:
            return Retraining("rewind point", dense.learning_rates[3:], first_step=3)
        steps = dense.steps_per_epoch * (self.late != "nothing")
        first = 5 if self.late == "rewind point" else 0
        return Retraining(self.late, np.full(steps, 0.001 * dense.level), first)


def test_each_level_is_trained_as_the_schedule_says_for_it(tmp_path):
    result = go(small(retrain=Changing(), levels=4, train={"epochs": 3}), tmp_path)
    epochs = [[epoch["number"] for epoch in level.epochs] for level in result.levels]
    assert epochs == [[1, 2, 3], [1, 2, 3], [1, 2, 3], [1], [1]]
    assert [level.epochs[-1]["learning_rate"] for level in result.levels[3:]] == [0.003, 0.004]
    # Level 3 goes on from level 2, not from the rewind point.
    two, three, four = (level.state_dict()["hidden1.weight" if "hidden1.weight" in level.masks
                                           else next(iter(level.masks))]
                        for level in result.levels[2:])
    kept = three != 0
    assert (three - two)[kept].abs().mean() < 0.1 * two[kept].abs().mean()
    assert not torch.equal(three, four)


def test_a_schedule_is_told_the_level_that_it_retrains(tmp_path):
    asked = []

    class Asks(Changing):
        def retraining(self, dense: Dense) -> Retraining:
            asked.append(dense.level)
            return super().retraining(dense)

    go(small(retrain=Asks(), levels=3, train={"epochs": 1}), tmp_path)
    assert set(asked) == {1, 2, 3}


@pytest.mark.parametrize(("late", "message"), [
    ("nothing", "starts from 'nothing'|leaves no step to train"),
    ("elsewhere", "starts from 'elsewhere'"),
])
def test_every_level_is_checked_before_anything_is_trained(tmp_path, late, message):
    with pytest.raises(SddError, match=message):
        go(small(retrain=Changing(late=late), levels=3), tmp_path)
    assert not list(tmp_path.glob(".shared/levels/*"))
    go(small(retrain=Changing(late=late), levels=2, train={"epochs": 1}), tmp_path)


class Fixed(nn.Module):
    """A network that cannot be given fresh weights."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(10, 64))

    def forward(self, x):
        return x.flatten(1) @ self.weight.T


def test_fresh_weights_of_a_late_level_are_checked_too(tmp_path):
    settings = small(model=Fixed(), retrain=Changing(late="fresh"), pruner={"include": ["weight"]},
                     train={"epochs": 1})
    with pytest.raises(SddError, match="a level must start from fresh weights"):
        go({**settings, "levels": 3}, tmp_path)
    go({**settings, "levels": 2}, tmp_path)


def test_the_key_of_a_level_has_the_schedule_and_the_level(tmp_path):
    one, other = (level_keys(Experiment.make(small(retrain=Changing(until=until), levels=3)))
                  for until in (1, 2))
    assert one[0] == other[0]
    assert not set(one[1:]) & set(other[1:])
    assert len(set(one)) == 4
    longer = level_keys(Experiment.make(small(retrain=Changing(until=1), levels=5)))
    assert longer[:4] == one


def test_more_levels_reuse_those_that_are_there(tmp_path):
    settings = small(retrain=Changing(until=1), train={"epochs": 1})
    go({**settings, "levels": 2}, tmp_path / "grown")
    grown = go({**settings, "levels": 3}, tmp_path / "grown")
    whole = go({**settings, "levels": 3}, tmp_path / "whole")
    one, other = contents(grown.folder), contents(whole.folder)
    for level in range(4):
        name = f"levels/{level:02d}/weights.safetensors"
        assert one[name] == other[name]


def test_shared_levels_make_the_rewind_points_of_all_levels(tmp_path):
    run = Experiment.make(small(retrain=Changing(until=1, late="rewind point"), levels=3,
                                train={"epochs": 1}))
    place = RunOptions(tmp_path, device="cpu")
    assert execute(run, 0, [(run.retrain, run.levels)], place) is None
    points = {path.name for path in (tmp_path / ".shared" / "points").iterdir()}
    for steps in (3, 5):
        assert digest({"dense": dense_key(run), "steps": steps}) in points


def test_the_estimate_counts_the_epochs_of_each_level():
    """Levels of one epoch take as long as an epoch, those of ten as ten."""
    settings = {"seed": [0, 1, 2], "retrain": {"name": "finetune", "epochs": 1}, "levels": 8,
                "train": {"epochs": 10}}
    plan = Plan.of(expand([settings], load_plugins()))
    estimate, missing, now = Estimate(plan), set(plan.keys), 0.0
    task = plan.tasks[0]
    for number, key in enumerate(task.keys):
        now += 1.0 if number else 10.0  # a second for each epoch
        missing.discard(key)
        estimate.came({key}, missing, now)
    left = estimate.left(missing)
    assert left is not None
    assert left == pytest.approx(2 * (10 + 8), rel=0.3)

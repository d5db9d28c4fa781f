from __future__ import annotations

import pickle

import pytest
import torch
from support import go, plugins_with, small

from sdd_core import Experiment, Optimizer, SddError
from sdd_core.experiment.keys import level_keys
from sdd_plugins.optimizers import OF_TORCH, Sgd

EACH = [one.name for one in OF_TORCH]


def test_torchs_optimizers_are_there_by_their_names():
    assert {"Adam", "AdamW", "RMSprop", "Adagrad", "NAdam"} <= set(EACH)
    # They look at whole matrices, at the loss, or are the engine's own.
    assert not {"Muon", "Adafactor", "LBFGS", "SparseAdam", "SGD"} & set(EACH)


@pytest.mark.parametrize("kind", OF_TORCH, ids=EACH)
def test_each_is_torchs_own_with_its_defaults_and_can_be_pickled(kind):
    weights = torch.zeros(3)
    made = kind().make(weights, 0.1, 0.01)
    usual = getattr(torch.optim, kind.name)([weights], lr=0.1, weight_decay=0.01)
    assert type(made) is type(usual)
    assert made.defaults == usual.defaults
    assert pickle.loads(pickle.dumps(kind())) == kind()


def test_options_reach_torch(tmp_path):
    chosen = {"name": "AdamW", "betas": [0.5, 0.6]}
    experiment = Experiment.make({"train": {"optimizer": chosen}})
    made = experiment.train.optimizer.make(torch.zeros(1), 0.1, 0.0)
    assert made.defaults["betas"] == (0.5, 0.6)
    other = Experiment.make({"train": {"optimizer": "AdamW"}})
    assert level_keys(experiment)[0] != level_keys(other)[0]


class SignDescent(Optimizer):
    """Every weight moves by the learning rate, against the sign of its gradient."""

    name = "sign"

    def make(self, weights, lr, weight_decay):
        class Descent(torch.optim.Optimizer):
            @torch.no_grad()
            def step(self, closure=None):
                for group in self.param_groups:
                    for weight in group["params"]:
                        weight.sub_(group["lr"] * weight.grad.sign())

        return Descent([weights], {"lr": lr})


def test_one_of_a_third_party_takes_the_steps(tmp_path):
    plugins = plugins_with(sdd_optimizers=[SignDescent])
    train = {"epochs": 1, "batch_size": 10_000, "lr": 0.125, "decay": {"milestones": []},
             "optimizer": "sign"}
    settings = small(train=train, levels=0, metrics=["learning_distance"])
    result = go(settings, tmp_path, plugins=plugins)
    # One step: each weight with a gradient, and no other, has moved by exactly the rate.
    moved = (result.levels[0].metrics["learning_distance"] / 0.125) ** 2
    assert moved > 1
    assert moved == pytest.approx(round(moved), abs=1e-2)


class Faulty(Optimizer):
    """Fails when it is made."""

    name = "faulty"

    def make(self, weights, lr, weight_decay):
        raise KeyError("beta")


def test_one_that_fails_is_named_in_one_line(tmp_path):
    plugins = plugins_with(sdd_optimizers=[Faulty])
    with pytest.raises(SddError, match="optimizer 'faulty' failed: KeyError") as caught:
        go(small(train={"epochs": 1, "optimizer": "faulty"}), tmp_path, plugins=plugins)
    assert "\n" not in str(caught.value)


def test_plain_sgd_is_the_engines():
    assert Sgd(momentum=0.5).sgd_momentum == 0.5
    assert all(one().sgd_momentum is None for one in OF_TORCH)

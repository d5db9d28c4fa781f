"""What pruners observe while a level trains, and that observing changes nothing else."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from support import Dropping, Net, contents, go, plugins_with, small
from torch import nn
from training_cases import gap, observed_network, observed_steps, random_masks, textbook_steps

from sdd_core import Experiment, Pruner, SddError
from sdd_core.experiment.keys import dense_key, level_keys
from sdd_core.runs.level_files import read_level
from sdd_core.runs.store import Store

STEPS = 10


class Watch(Pruner):
    """Keeps the last weights and gradients that it saw, and how many steps."""

    name = "watch"
    seen: ClassVar[list] = []

    def observe(self, state, step):
        self.seen.append((step.step, step.steps, step.batch, step.learning_rate))
        state["count"] = state.get("count", torch.zeros(())) + 1
        for name, weight in step.weights.items():
            state[f"w {name}"], state[f"g {name}"] = weight, step.gradients[name]

    def scores(self, level):
        return {name: level.observed[f"g {name}"].abs() for name in level.prunable}


@pytest.mark.parametrize("density", [1.0, 0.3])
def test_weights_and_gradients_are_those_of_a_plain_loop(density):
    """Pruned weights have gradients too; weight decay, momentum and masks are not in them."""
    masks = random_masks(observed_network(), density)
    steps = textbook_steps(masks, STEPS)
    Watch.seen.clear()
    state, _ = observed_steps(Watch(), masks, STEPS)
    weights, gradients = steps[STEPS - 1]
    assert float(state["count"]) == STEPS
    for which, expected in (("w", weights), ("g", gradients)):
        ours = {name: state[f"{which} {name}"] for name in expected}
        assert gap(ours, expected) < 1e-3
    if density < 1:
        assert state["g 4.weight"][~masks["4.weight"]].any()
    assert Watch.seen == [(n, STEPS, n % 4, 0.05) for n in range(STEPS)]


def states(folder, settings):
    run = go(settings, folder)
    return [read_level(run.folder / "levels" / f"{n:02d}") for n in range(len(run.levels))]


def test_levels_train_as_without_an_observer(tmp_path):
    """The same weights as with another pruner on the general path, and the sparse kernels are not
    used."""
    (ours,) = states(tmp_path / "a", small(pruner="movement", levels=0))
    (theirs,) = states(tmp_path / "b", small(levels=0, kernels="none"))
    assert ours.kernels == ()
    assert not theirs.observed
    assert ours.observed.keys() >= ours.masks.keys()
    assert all(torch.equal(ours.state[name], theirs.state[name]) for name in theirs.state)


def test_each_level_has_its_own_observation(tmp_path):
    levels = states(tmp_path, small(pruner={"name": "movement", "fraction": 0.4}))
    assert all(level.observed and level.kernels == () for level in levels)
    name = "hidden1.weight" if "hidden1.weight" in levels[0].masks else next(iter(levels[0].masks))
    assert not torch.equal(levels[0].observed[name], levels[1].observed[name])


def test_in_one_shot_pruning_only_the_dense_level_is_observed(tmp_path):
    levels = states(tmp_path, small(pruner={"name": "taylor", "from_dense": True}, levels=2))
    assert [bool(level.observed) for level in levels] == [True, False, False]


def test_an_included_weight_can_be_scored(tmp_path):
    class Bare(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = Net()
            self.scale = nn.Parameter(torch.ones(8, 8))

        def forward(self, x):
            return self.net(x.flatten(1) * self.scale.flatten())

    pruner = {"name": "movement", "include": ["scale"]}
    levels = states(tmp_path, small(model=Bare(), pruner=pruner, levels=1))
    assert not levels[1].masks["scale"].all() or levels[1].masks["net.first.weight"].sum() < 16 * 64


@pytest.mark.parametrize("changes", [{"fraction": 0.3}, {"scope": "layer"}, {"sparsity": 0.5},
                                     {"exempt": []}, {"from_dense": True}])
def test_the_dense_key_has_the_observer_and_none_of_the_general_options(changes):
    keys = {name: dense_key(Experiment.make({"pruner": name}))
            for name in ("imp", "gradient", "obd", "movement", "taylor", "fisher")}
    assert keys["imp"] == keys["gradient"] == keys["obd"]
    assert len(set(keys.values())) == 4
    changed = Experiment.make({"pruner": {"name": "movement", **changes}})
    assert dense_key(changed) == keys["movement"]
    assert level_keys(changed)[1] != level_keys(Experiment.make({"pruner": "movement"}))[1]


class Averages(Pruner):
    """Has an option of its own on which the observation depends."""

    name = "averages"
    decay: float = 0.9

    def observe(self, state, step):
        pass

    def scores(self, level):
        return {name: level.weights[name].abs() for name in level.prunable}


def test_the_dense_key_has_the_observers_own_options():
    one, other = (dense_key(Experiment.make({"pruner": Averages(decay=d)})) for d in (0.5, 0.9))
    assert one != other


class Rude(Pruner):
    """Does everything that it must not do."""

    name = "rude"

    def observe(self, state, step):
        for part in (step.weights, step.gradients, step.masks):
            for tensor in part.values():
                tensor.zero_()
        torch.manual_seed(random.randrange(2**40))
        torch.rand(5)
        np.random.rand()
        state["x"] = next(iter(step.weights.values()))
        state["y"] = state["x"]

    def scores(self, level):
        return {name: level.weights[name].abs() for name in level.prunable}


def test_an_observer_cannot_change_the_run(tmp_path):
    settings = small(model=Dropping(), levels=1, kernels="none")
    usual = go({**settings, "pruner": {"name": "imp", "fraction": 0.4}}, tmp_path / "usual")
    rude = go({**settings, "pruner": Rude(fraction=0.4)}, tmp_path / "rude")
    one, other = contents(usual.folder), contents(rude.folder)
    for level in ("00", "01"):
        for file in ("weights.safetensors", "masks.safetensors"):
            name = f"levels/{level}/{file}"
            assert one[name] == other[name], name


def failing(found):
    class Failing(Pruner):
        """Fails in its third step, or leaves something else in its state."""

        name = "failing"

        def observe(self, state, step):
            if step.step == 2:
                if found is None:
                    raise KeyError("layer")
                state["x"] = found

        def scores(self, level):
            return {}

    return Failing


@pytest.mark.parametrize(("found", "message"), [
    (None, "pruner 'failing' failed: KeyError"),
    (3.0, "pruner 'failing' failed: TypeError: observe.. left 'x' of type float"),
    (torch.eye(3).to_sparse(), "observe.. left 'x', a sparse tensor, in the state"),
    (torch.ones(3, device="meta"), "observe.. left 'x', a tensor on the device 'meta', in the"),
    (torch.ones(3) * 1j, "observe.. left 'x' of torch.complex64 in the state"),
])
def test_its_failures_are_attributed_to_it(tmp_path, found, message):
    plugins = plugins_with(sdd_pruners=[failing(found)])
    with pytest.raises(SddError, match=message) as caught:
        go(small(pruner="failing"), tmp_path, plugins=plugins)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("settings", "level"), [
    ({"train": {"epochs": 0}}, 0),
    ({"retrain": {"name": "rewind", "epochs": 0}}, 1),
])
def test_levels_that_are_not_trained_cannot_be_observed(tmp_path, settings, level):
    with pytest.raises(SddError, match=f"'fisher' scores what it observes .* level {level} is not"):
        go(small(pruner="fisher", **settings), tmp_path)
    assert not list((tmp_path / ".shared" / "levels").glob("*")) or level
    one_shot = {"name": "fisher", "from_dense": True}
    if level:
        go(small(pruner=one_shot, **settings), tmp_path)


def test_it_is_said_that_the_kernels_are_not_used(tmp_path, capsys):
    go(small(pruner="movement", levels=0), tmp_path)
    assert "'movement' observes the gradients" in capsys.readouterr().err
    go(small(pruner="movement", levels=0, kernels="none"), tmp_path / "none")
    go(small(levels=0), tmp_path / "imp")
    assert "observes" not in capsys.readouterr().err


def test_a_level_of_before_has_nothing_observed(tmp_path):
    (level,) = states(tmp_path, small(levels=0))
    (folder,) = (tmp_path / ".shared" / "levels").iterdir()
    assert {file.name for file in folder.iterdir()} == {
        "SHA256SUMS", "epochs.jsonl", "level.json", "masks.safetensors", "weights.safetensors"}
    assert level.observed == {}
    assert "observed" not in json.loads((folder / "level.json").read_text())


def test_what_was_observed_comes_back_from_the_store(tmp_path):
    odd = {"half": torch.rand(3).half(), "count": torch.tensor(7), "flags": torch.tensor([True]),
           "a/b c": torch.zeros(0, 2), "nan": torch.tensor([torch.nan])}
    (level,) = states(tmp_path / "run", small(levels=0))
    store = Store(tmp_path / "store")
    store.save_level("a" * 40, replace(level, observed=odd))
    found = store.load_level("a" * 40)
    assert found is not None
    assert found.observed.keys() == odd.keys()
    for name, tensor in odd.items():
        assert found.observed[name].dtype == tensor.dtype
        assert torch.equal(found.observed[name].nan_to_num(3.0), tensor.nan_to_num(3.0))

"""Where levels start, what they are pruned from, what they go towards, and how they go on."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import ClassVar, Literal

import pytest
import torch
from support import contents, go, plugins_with, scope_of, small
from torch.nn.functional import cross_entropy, one_hot

from sdd_core import Experiment, LabelNoise, Loss, Pruner, SddError
from sdd_core.level import masks as masking
from sdd_core.level.evaluation import predict
from sdd_core.level.level import Level
from sdd_core.pruning import prune
from sdd_core.runs.checkpoints import Checkpoints
from sdd_core.runs.store import Store
from sdd_core.training import loop as training
from sdd_core.training.level_trainer import LevelTrainer
from sdd_core.training.setup import ExperimentSetup


def parts(settings) -> ExperimentSetup:
    return ExperimentSetup(Experiment.make(settings), None, torch.device("cpu"))


def levels_of(result, store: Path) -> list[Level]:
    """The run's levels as the store keeps them."""
    kept = [Store(store).load_level(level.key) for level in result.levels]
    assert all(kept)
    return [level for level in kept if level]


def run_levels(settings, store: Path, **options) -> list[Level]:
    return levels_of(go(settings, store, **options), store)


def same(one: Level, other: Level) -> bool:
    return all(torch.equal(tensor, other.state[name]) for name, tensor in one.state.items())


# Going on


class StopAt:
    """Stops a run when it has written the n-th checkpoint of the level that starts as the m-th."""

    def __init__(self, start: int, after: int, monkeypatch) -> None:
        self.starts, self.left = start, after
        original = Checkpoints.save

        def save(store, key, checkpoint):
            original(store, key, checkpoint)
            self.left -= self.starts == 0
            if self.left == 0:
                raise KeyboardInterrupt

        # Not by a hook, which may come after the first steps.
        train = LevelTrainer.train

        def starting(*given, **named):
            self.starts -= 1
            return train(*given, **named)

        monkeypatch.setattr(Checkpoints, "save", save)
        monkeypatch.setattr(LevelTrainer, "train", starting)


CASES = {
    "AdamW": {"train": {"epochs": 2, "optimizer": "AdamW", "lr": 0.003, "weight_decay": 0.1}},
    "penalty": {"train": {"epochs": 2, "distance_penalty": 0.3}, "retrain": "lr-rewind"},
    "re-dense": {"ablation": {"name": "re-dense", "masked_epochs": 1, "epochs": 1}},
    "re-dense from the level": {"ablation": "re-dense"},
    "re-dense by AdamW": {
        "ablation": {"name": "re-dense", "masked_epochs": 1, "epochs": 1},
        "train": {"epochs": 2, "optimizer": "AdamW", "lr": 0.003, "weight_decay": 0.1},
    },
    "distillation": {"loss": "distillation"},
    "sparse distillation": {"loss": "sparse-distillation", "retrain": "finetune"},
    "held": {"retrain": {"name": "rewind", "pruned": "permuted"}},
}


@pytest.mark.parametrize("after", [1, 4, 5])
@pytest.mark.parametrize("case", CASES)
def test_goes_on_from_a_checkpoint_in_the_middle_bit_for_bit(case, after, tmp_path, monkeypatch):
    """Of eight steps; a re-dense level loses its mask after the fourth, or at once."""
    monkeypatch.setattr(training, "CHUNK", 1)
    data = {"name": "digits", "examples": 500}
    settings = small(**{"train": {"epochs": 2}, "levels": 1, **CASES[case]}, data=data)
    whole = go(settings, tmp_path / "whole")
    start = 3 if "ablation" in settings else 2  # the dense network, level 1, and that changed
    with monkeypatch.context() as patched:
        StopAt(start, after, patched)
        with pytest.raises(KeyboardInterrupt):
            go(settings, tmp_path / "stopped", checkpoint_minutes=0)
    seen = []
    monkeypatch.setattr(
        Checkpoints, "load",
        lambda store, key, load=Checkpoints.load: seen.append(load(store, key)) or seen[-1],
    )  # fmt: skip
    again = go(settings, tmp_path / "stopped")
    assert [checkpoint.taken for checkpoint in seen if checkpoint] == [after]
    assert contents(again.folder) == contents(whole.folder)


# Stopping early


def test_stops_after_the_first_epoch_with_so_small_a_loss(tmp_path):
    noiseless = small(noise="none", levels=1, train={"epochs": 8})
    losses = [epoch.test_loss for epoch in run_levels(noiseless, tmp_path)[0].epochs]
    assert len(losses) == 8
    stopping = small(noise="none", levels=1, train={"epochs": 8, "stop_loss": 0.5})
    dense, pruned = run_levels(stopping, tmp_path)
    for level in (dense, pruned):
        assert 1 < len(level.epochs) < 8
        *before, last = (epoch.train_loss for epoch in level.epochs)
        assert last <= 0.5 < min(before)
    # Until then it trains as without.
    assert [epoch.test_loss for epoch in dense.epochs] == losses[: len(dense.epochs)]


@pytest.mark.parametrize(
    ("options", "epochs"), [({"masked_epochs": 4}, [1, 2, 3, 4, 5]), ({}, [5])]
)
def test_a_re_dense_level_stops_only_when_its_masks_were_lifted(tmp_path, options, epochs):
    settings = small(noise="none", levels=1, ablation={"name": "re-dense", **options},
                     train={"epochs": 4, "stop_loss": 100.0})  # fmt: skip
    level = run_levels(settings, tmp_path)[1]
    assert [epoch.number for epoch in level.epochs] == epochs
    assert level.state["hidden1.weight"][~level.masks["hidden1.weight"]].any()


# One-shot pruning


@pytest.mark.parametrize("scope", ["global", "layer"])
def test_one_shot_prunes_the_dense_network_as_often_as_there_are_levels(tmp_path, scope):
    pruner = {"name": "imp", "fraction": 0.4, "scope": scope, "from_dense": True}
    dense, *pruned = run_levels(small(pruner=pruner, levels=4), tmp_path)
    scores = {"hidden1.weight": dense.state["hidden1.weight"].abs()}
    masks = masking.full_masks({name: dense.state[name] for name in dense.masks})
    for level in pruned:
        masks = prune.prune_fraction(masks, scores, 0.4, scope_of(scope))
        assert all(torch.equal(level.masks[name], mask) for name, mask in masks.items())
    usual = {**pruner, "from_dense": False}
    iterative = run_levels(small(pruner=usual, levels=4), tmp_path)
    counts = [[int(m.sum()) for m in level.masks.values()] for level in iterative]
    assert counts == [[int(m.sum()) for m in level.masks.values()] for level in (dense, *pruned)]
    # The first level is the same either way; the second was chosen by other weights.
    assert same(iterative[1], pruned[0])
    assert not torch.equal(iterative[2].masks["hidden1.weight"], pruned[1].masks["hidden1.weight"])


def test_one_shot_finetuning_starts_from_the_dense_network(tmp_path):
    pruner = {"name": "imp", "sparsity": [0.3, 0.6], "from_dense": True}
    retrain = {"name": "finetune", "lr": 1e-30, "epochs": 1}  # which moves nothing
    dense, *pruned = run_levels(small(pruner=pruner, retrain=retrain), tmp_path)
    weight = dense.state["hidden1.weight"]
    for level, sparsity in zip(pruned, (0.3, 0.6), strict=True):
        mask = level.masks["hidden1.weight"]
        assert torch.equal(level.state["hidden1.weight"], weight.masked_fill(~mask, 0.0))
        assert int((~mask).sum()) == -(-int(sparsity * 10) * mask.numel() // 10)


def test_more_levels_of_one_shot_pruning_leave_those_there_are_as_they_are(tmp_path):
    def keys(levels):
        pruner = {"name": "imp", "fraction": 0.4, "from_dense": True}
        return [level.key for level in go(small(pruner=pruner, levels=levels), tmp_path).levels]

    assert keys(3)[:2] == keys(1)


class Aiming(Pruner):
    """Notes the density that is asked for."""

    name = "aiming"

    def scores(self, level):
        AIMS.append(level.target_density)
        return {name: level.weights[name].abs() for name in level.prunable}


AIMS: list[float | None] = []


@pytest.mark.parametrize(
    "how", [{"fraction": 0.4}, {"sparsity": [0.4, 0.64]}, {"fraction": 0.4, "from_dense": True}]
)
def test_a_pruner_knows_the_density_that_is_asked_for(tmp_path, how):
    AIMS.clear()
    plugins = plugins_with(sdd_pruners=[Aiming])
    settings = small(pruner={"name": "aiming", **how}, train={"epochs": 1})
    result = go(settings, tmp_path, plugins=plugins)
    assert pytest.approx([0.6, 0.36], abs=1e-3) == AIMS
    assert [level.density for level in result.levels[1:]] == pytest.approx(AIMS, abs=2e-3)


# Where pruned weights are held


def frozen(how: str, tmp_path, schedule: str) -> tuple[list[Level], dict[str, torch.Tensor]]:
    settings = small(retrain={"name": schedule, "pruned": how})
    initial = parts(settings).build(0).state_dict()
    return run_levels(settings, tmp_path), initial


NAME = "hidden1.weight"


@pytest.mark.parametrize("schedule", ["rewind", "lr-rewind", "scratch"])
def test_pruned_weights_are_zero(tmp_path, schedule):
    levels, _ = frozen("zero", tmp_path, schedule)
    assert all(not level.state[NAME][~level.masks[NAME]].any() for level in levels)


def test_pruned_weights_stay_at_their_initial_value(tmp_path):
    (dense, *pruned), initial = frozen("initial", tmp_path, "rewind")
    for level in pruned:
        mask = level.masks[NAME]
        assert torch.equal(level.state[NAME][~mask], initial[NAME][~mask])
        assert not (level.state[NAME][mask] == initial[NAME][mask]).all()
    assert not torch.equal(dense.state[NAME], initial[NAME])


@pytest.mark.parametrize("schedule", ["rewind", "lr-rewind", "scratch"])
def test_pruned_weights_stay_at_their_last_value(tmp_path, schedule):
    levels, _ = frozen("previous", tmp_path, schedule)
    for before, level in pairwise(levels):
        gone = ~level.masks[NAME]
        assert gone.sum() > (~before.masks[NAME]).sum()
        assert torch.equal(level.state[NAME][gone], before.state[NAME][gone])
        assert level.state[NAME][gone].all()


def test_pruned_weights_exchange_their_last_values(tmp_path):
    levels, _ = frozen("permuted", tmp_path, "lr-rewind")
    for before, level in pairwise(levels):
        gone = ~level.masks[NAME]
        now, last = level.state[NAME][gone], before.state[NAME][gone]
        assert torch.equal(now.sort().values, last.sort().values)
        assert (now != last).double().mean() > 0.9


def test_the_network_that_is_tested_has_the_held_weights(tmp_path):
    levels, _ = frozen("previous", tmp_path, "lr-rewind")
    made = parts(small())
    network, level = made.build(0), levels[-1]
    network.load_state_dict(dict(level.state))
    logits = predict(network, made.data, made.data.test.images)
    loss = cross_entropy(logits, made.data.test.labels).item()
    assert level.epochs[-1].test_loss == pytest.approx(loss, rel=1e-5)


# Fewer examples


class ByPlace(LabelNoise):
    """Label: the place among all examples, so that it says which example it is."""

    name = "by-place"

    def corrupt(self, labels, data, generator):
        drawn = torch.randint(10, labels.shape, generator=generator)
        return torch.where(torch.arange(len(labels)) % 3 == 0, drawn, labels)


def test_an_examples_label_is_the_same_however_many_there_are():
    plugins = plugins_with(sdd_label_noise=[ByPlace])

    def train(examples):
        data = {"name": "digits"} | ({"examples": examples} if examples else {})
        made = Experiment.make(small(data=data, noise="by-place"), plugins)
        return ExperimentSetup(made, None, torch.device("cpu")).data.train

    full = train(None)
    number = {image.numpy().tobytes(): n for n, image in enumerate(full.images)}
    assert len(number) == 1000  # no two images are the same
    chosen = {}
    for size in (50, 400, 1000):
        few = train(size)
        places = [number[image.numpy().tobytes()] for image in few.images]
        assert len(few) == len(set(places)) == size
        assert places == sorted(places)
        assert torch.equal(few.labels, full.labels[places])
        assert torch.equal(few.true_labels, full.true_labels[places])
        chosen[size] = set(places)
    assert chosen[50] < chosen[400] < chosen[1000]
    assert full.mislabelled.any()


def test_more_examples_than_there_are_is_refused():
    with pytest.raises(SddError, match=r"data\.examples is 1001, but 'digits' has only 1000"):
        parts(small(data={"name": "digits", "examples": 1001}))


def test_the_seed_chooses_the_examples():
    def images(seed):
        return parts(small(seed=seed, data={"name": "digits", "examples": 20})).data.train.images

    assert torch.equal(images(0), images(0))
    assert not torch.equal(images(0), images(1))


# Teachers


class FromDense(Loss):
    """Notes its teacher."""

    name = "from-dense"
    teacher: ClassVar[Literal["dense", "previous"] | None] = "dense"

    def loss(self, logits, labels, teacher):
        TOLD.append((labels, teacher))
        return cross_entropy(logits, labels)


class FromPrevious(FromDense):
    """Notes its teacher."""

    name = "from-previous"
    teacher: ClassVar[Literal["dense", "previous"] | None] = "previous"


TOLD: list[tuple[torch.Tensor, torch.Tensor]] = []


@pytest.mark.parametrize(("loss", "teachers"), [("from-dense", [0, 0]), ("from-previous", [0, 1])])
def test_a_pruned_level_learns_from_its_teacher(tmp_path, loss, teachers):
    """Which of the levels it is, by the logits on the whole training set."""
    plugins = plugins_with(sdd_losses=[FromDense, FromPrevious])
    settings = small(loss=loss, train={"epochs": 1, "batch_size": 1000})
    TOLD.clear()
    result = go(settings, tmp_path, plugins=plugins)
    assert len(TOLD) == 2  # one step for each pruned level, none for the dense one
    levels = levels_of(result, tmp_path)
    made = ExperimentSetup(result.experiment, None, torch.device("cpu"))
    network = made.build(0)
    for index, teacher in enumerate(teachers, start=1):
        network.load_state_dict(dict(levels[teacher].state))
        logits = predict(network, made.data, made.data.train.images)
        order = made.resident.order(0, index, 0)
        labels, told = TOLD[index - 1]
        assert torch.equal(told, logits[order])
        assert torch.equal(labels, made.data.train.labels[order])


def test_a_loss_with_a_teacher_leaves_the_dense_network_as_it_is(tmp_path):
    plain = go(small(), tmp_path)
    taught = go(small(loss="distillation"), tmp_path)
    robust = go(small(loss="generalised-cross-entropy"), tmp_path)
    assert taught.levels[0].key == plain.levels[0].key != robust.levels[0].key
    assert taught.levels[1].key != plain.levels[1].key


def test_generalised_cross_entropy_is_what_the_network_is_trained_by(tmp_path):
    """A step of plain gradient descent from the initialisation, worked out beside it."""
    train = {"epochs": 1, "batch_size": 1000, "lr": 0.5, "optimizer": {"momentum": 0.0},
             "decay": {"milestones": []}}
    settings = small(loss={"name": "generalised-cross-entropy", "q": 0.4}, train=train, levels=0)
    (dense,) = run_levels(settings, tmp_path)
    made = parts(settings)
    network = made.build(0)
    data = made.data.train
    images = made.resident.train_images
    p = (network(images).softmax(1) * one_hot(data.labels, 10)).sum(1)
    ((1 - p**0.4) / 0.4).mean().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None
        expected = parameter.detach() - 0.5 * parameter.grad
        torch.testing.assert_close(dense.state[name], expected)




@pytest.mark.parametrize("devices", [0, 1, 3])
def test_a_checkpoint_of_two_gpus_goes_on_where_there_are_more_or_fewer(monkeypatch, devices):
    states = training.random_state() | {f"cuda:{n}": torch.tensor([n]) for n in range(2)}
    restored = {}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: devices > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: devices)
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda s, name: restored.update({name: s}))
    training.restore_random_state(states)
    assert restored == {f"cuda:{n}": states[f"cuda:{n}"] for n in range(min(2, devices))}

"""Masks that move while a level trains: what the engine does, and what it refuses."""

import copy
from itertools import pairwise
from typing import ClassVar

import pytest
import torch
from sparse.residual import ResNet
from support import Net, go, needs_muon, small
from testing.faulty_movers import Good
from training_cases import dataset, gap, perceptron, random_masks, resident, take_steps, trainer

from sdd_core import Experiment, Pruner, SddError, SparseTraining
from sdd_core.experiment.keys import level_keys
from sdd_core.training.dense_trainer import DenseTrainer
from sdd_core.training.select import TrainerFactory
from sdd_core.training.sparse_trainer import SparseTrainer

METHODS = {
    "rigl": {"name": "rigl", "every": 5},
    "set": {"name": "set"},
    "gmp": {"name": "gmp", "every": 5},
    "ac-dc": {"name": "ac-dc"},
}
EACH = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)


def kept(level):
    return {name: int(mask.sum()) for name, mask in level.masks.items()}


@EACH
@pytest.mark.parametrize("scope", ["global", "layer", "erk", "output"])
@pytest.mark.parametrize("kernels", ["auto", "none"])
def test_a_level_ends_with_the_number_of_weights_of_its_pruner(tmp_path, method, scope, kernels):
    settings = small(pruner={"name": "random", "fraction": 0.5, "scope": scope}, kernels=kernels)
    static = go(settings, tmp_path).levels
    moving = go(small(**settings, sparse_training=method), tmp_path).levels
    for one, other in zip(static, moving, strict=True):
        assert sum(kept(one).values()) == sum(kept(other).values())
        assert one.sparsity == other.sparsity
        if scope in {"layer", "erk"}:
            assert kept(one) == kept(other)
    for level in moving[1:]:
        assert level.metrics["moved"] == 0 if method["name"] == "gmp" else level.metrics["moved"]
        for name, mask in level.masks.items():
            pruned = level.state_dict()[name][~mask]
            assert not pruned.any()
            assert not pruned.signbit().any()
    assert "moved" not in moving[0].metrics
    assert all("moved" not in level.metrics for level in static)


def test_the_next_level_is_pruned_from_the_moved_masks(tmp_path):
    levels = go(small(sparse_training="set", levels=3), tmp_path).levels
    first, second = levels[1].masks, levels[2].masks
    revived = sum(int((second[n] & ~first[n]).sum()) for n in first)
    assert 0 < revived <= levels[2].metrics["moved"]


@EACH
@pytest.mark.parametrize("pruner", ["imp", "snip", "slimming"])
@pytest.mark.parametrize("changes", [
    {"train": {"epochs": 3, "optimizer": "AdamW", "lr": 0.01}},
    {"loss": "sparse-distillation"},
    {"train": {"epochs": 3, "distance_penalty": 0.1}, "retrain": "finetune"},
    {"retrain": "scratch"},
], ids=["AdamW", "distillation", "penalty", "scratch"])
def test_combines_with_pruners_schedules_losses_and_optimizers(tmp_path, method, pruner, changes):
    model = Net if pruner == "slimming" else small()["model"]
    if pruner == "slimming":
        pytest.importorskip("torch")
        pruner = "imp"
    settings = small(model=model, pruner={"name": pruner, "fraction": 0.4}, **changes)
    static = go(settings, tmp_path).levels
    levels = go(small(**settings, sparse_training=method), tmp_path).levels
    assert [sum(kept(one).values()) for one in levels] == [sum(kept(one).values())
                                                           for one in static]
    assert not any(level.diverged for level in levels)


MAKERS = {"perceptron": lambda seed=0: perceptron(192, 40, 20, 5, seed=seed),
          "residual": lambda seed=0: (torch.manual_seed(seed), ResNet((8, 12), 1))[1]}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
@pytest.mark.parametrize("augmented", [False, True])
def test_the_kernels_move_masks_like_the_general_path(make, augmented):
    data, masks = dataset(augmented=augmented), random_masks(make(), 0.3)
    moved = random_masks(make(), 0.3, seed=5)
    ours, theirs = trainer(make(), masks, data), trainer(make(), masks, data, "none")
    assert isinstance(ours, SparseTrainer)
    assert isinstance(theirs, DenseTrainer)
    source, found = resident(data), []
    order, crops = source.order(0, 1, 0), source.crops(0, 1, 0)
    for one in (ours, theirs):
        take_steps(one, data, 0, 5)
        gradients = {n: g.clone() for n, g in one.gradients(order, crops, 1, 0.1).items()}
        found.append(gradients)
        values = {n: 0.1 * gradients[n] * (mask & ~masks[n]) for n, mask in moved.items()}
        one.remask(moved, dict([*values.items()][:1]))
        take_steps(one, data, 6, 3)
    assert gap(*found) < 1e-3
    assert gap(ours.state(), theirs.state()) < 1e-3
    assert gap(ours.momenta(), theirs.momenta()) < 1e-2
    for name, mask in moved.items():
        assert not ours.state()[name][~mask].any()


@pytest.mark.parametrize("engine", ["auto", "none"])
def test_dropped_and_regrown_weights_begin_at_zero_with_fresh_momentum(engine):
    data, masks = dataset(), random_masks(perceptron(192, 40, 5), 0.4)
    moved = random_masks(perceptron(192, 40, 5), 0.4, seed=9)
    one = trainer(perceptron(192, 40, 5), masks, data, engine)
    take_steps(one, data, 0, 4)
    state, momenta = one.state(), one.momenta()
    one.remask(moved, {})
    for name, mask in moved.items():
        changed = mask != masks[name]
        for before, after in ((state, one.state()), (momenta, one.momenta())):
            assert not after[name][changed].any()
            assert before[name][changed].any()
            assert torch.equal(after[name][~changed], before[name][~changed])


@pytest.mark.parametrize(("optimizer", "states"), [
    ("AdamW", ["exp_avg", "exp_avg_sq"]),  # of all parameters, in one buffer
    pytest.param("muon", ["0.0/momentum_buffer", "0.1/momentum_buffer"],  # of each weight
                 marks=needs_muon),
])
def test_the_state_of_other_optimizers_is_fresh_where_masks_moved(optimizer, states):
    network = perceptron(192, 40, 5)
    masks, moved = random_masks(network, 0.4), random_masks(network, 0.4, seed=9)
    of_parameters = [(moved[n] != masks[n]) if n in masks else torch.zeros_like(p).bool()
                     for n, p in network.named_parameters()]
    whole = torch.cat([one.flatten() for one in of_parameters])
    changed = {one.shape: one for one in (*of_parameters, whole)}
    settings = Experiment.make({"kernels": "none", "train": {
        "optimizer": optimizer, "batch_size": 32, "lr": 0.01}})
    data = dataset()
    one = TrainerFactory(network, resident(data), settings).make(network, masks)
    take_steps(one, data, 0, 4)
    before = one.momenta()
    one.remask(moved, {})
    after = one.momenta()
    for name in states:
        fresh = changed[before[name].shape]
        assert before[name][fresh].any()
        assert not after[name][fresh].any()
        assert torch.equal(after[name][~fresh], before[name][~fresh])


class Watching(Pruner):
    """Fails if it was shown masks that the weights do not have, or not every step."""

    name = "watching"

    def observe(self, state, step):
        stale = sum(int(step.weights[name][~mask].count_nonzero())
                    for name, mask in step.masks.items())
        number = int(state.get("seen", torch.tensor(0)))
        state["stale"] = state.get("stale", torch.tensor(0)) + stale
        state["seen"] = torch.tensor(number + 1 if step.step == number else -10**6)
        state["steps"] = torch.tensor(step.steps)

    def scores(self, level):
        assert not level.observed["stale"]
        assert level.observed["seen"] == level.observed["steps"]
        return {name: level.weights[name].abs() for name in level.prunable}


@pytest.mark.parametrize("method", ["rigl", "set"])
def test_a_pruner_observes_the_present_masks_at_every_step(tmp_path, method):
    found = go(small(pruner=Watching(), sparse_training=METHODS[method], levels=2), tmp_path)
    assert found.levels[1].metrics["moved"]


def test_an_update_with_gradients_replaces_the_step_and_sees_the_batch_once(tmp_path):
    """Statistics of normalisations move once for each batch, with and without updates."""
    settings = small(model=Net, levels=1)
    counts = [go(small(**settings, sparse_training=one), tmp_path).levels[1]
              .state_dict()["norm.num_batches_tracked"] for one in (None, METHODS["rigl"])]
    assert counts[0] == counts[1] > 0


def test_training_does_not_stop_before_the_masks_have_their_final_number(tmp_path):
    """The loss would allow it after the first epoch."""
    settings = small(levels=1, train={"epochs": 6, "stop_loss": 100.0}, retrain="scratch")
    ends = {name: go(small(**settings, sparse_training=method), tmp_path / name).levels[1]
            for name, method in METHODS.items()}
    epochs = {name: level.epochs[-1]["number"] for name, level in ends.items()}
    assert epochs["rigl"] == epochs["set"] == 1
    assert epochs["gmp"] == 4  # it has the final sparsity from the middle on
    assert epochs["ac-dc"] == 6
    assert len({sum(kept(level).values()) for level in ends.values()}) == 1


def test_a_diverged_level_has_the_masks_of_its_pruner(tmp_path):
    settings = small(train={"epochs": 3, "lr": 1e20}, levels=2, pruner={"name": "random"})
    static = go(settings, tmp_path).levels
    for name, method in METHODS.items():
        levels = go(small(**settings, sparse_training=method), tmp_path).levels
        assert [one.diverged for one in levels] == [one.diverged for one in static], name
        assert [kept(one) for one in levels] == [kept(one) for one in static]


def test_the_method_and_its_options_are_part_of_the_keys_of_pruned_levels():
    keys = [level_keys(Experiment.make(small(sparse_training=one)))
            for one in (None, "rigl", "set", {"name": "rigl", "every": 7})]
    assert len({one[0] for one in keys}) == 1
    assert len({key for one in keys for key in one[1:]}) == 8


REFUSED = {
    "ablation": {"ablation": "shuffle"},
    "retrain.pruned 'initial'": {"retrain": {"name": "rewind", "pruned": "initial"}},
    'pruner.start "as-is"': {"pruner": {"name": "imp", "start": "as-is"}},
    "pruner.pattern 'row'": {"pruner": {"name": "imp", "pattern": "row"}},
    "never moves the masks in the 24 steps of a level; train longer or lower sparse_training.every":
        {"sparse_training": "rigl"},
}


@pytest.mark.parametrize(("what", "changes"), REFUSED.items(), ids=REFUSED)
def test_what_cannot_be_combined_is_refused_before_anything_trains(tmp_path, what, changes):
    settings = small(**{"sparse_training": METHODS["rigl"], "train": {"epochs": 3}, **changes})
    with pytest.raises(SddError) as caught:
        go(settings, tmp_path)
    assert what in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / ".shared" / "levels").exists() or not any(
        (tmp_path / ".shared" / "levels").iterdir())


@pytest.mark.parametrize("pattern", ["row", "1:2", "column"])
@pytest.mark.parametrize("method", ["gmp", "ac-dc"])
def test_methods_that_prune_by_score_keep_patterns(tmp_path, method, pattern):
    settings = small(pruner={"name": "imp", "fraction": 0.2, "pattern": pattern}, levels=2)
    static = go(settings, tmp_path).levels
    levels = go(small(**settings, sparse_training=METHODS[method]), tmp_path).levels
    for one, other in zip(static, levels, strict=True):
        assert abs(sum(kept(one).values()) - sum(kept(other).values())) <= 64
    mask = levels[2].masks["hidden1.weight"]
    if pattern == "1:2":
        assert int(mask.view(-1, 2).sum(1).min()) >= 1
    else:
        lines = mask if pattern == "row" else mask.T
        assert set(lines.float().mean(1).tolist()) <= {0.0, 1.0}


def moving(**members):
    """A class like `Good` with other members, which updates at step 3."""
    return type("Bad", (Good,), {
        "__doc__": "Bad.", "__module__": __name__, "name": "bad",
        "__annotations__": {"by_layer": ClassVar[bool]}, "by_layer": True,
        "updates": lambda self, steps, per_epoch: [3], **members})()


WRONG = {
    "did not return a bool mask": {"masks": lambda self, view: {}},
    "at step 3 of level 1; expected": {
        "masks": lambda self, view: {n: torch.ones_like(m) for n, m in view.masks.items()}},
    "exempt layer 'output.weight'": {
        "masks": lambda self, view: view.masks | {"output.weight": ~view.masks["output.weight"]}},
    "did not regrow": {"values": lambda self, view, grown: {
        "hidden1.weight": torch.ones_like(view.weights["hidden1.weight"])}},
    "values() did not return a mapping": {"values": lambda self, view, grown: 3},
    "keeps 'n' of type int": {"masks": lambda self, view: (view.state.update(n=1), view.masks)[1]},
    "failed: ZeroDivisionError": {"masks": lambda self, view: 1 / 0},
    "sparse training 'bad' gave no scores": {"masks": lambda self, view: view.prune({})},
    "updates() or progress()": {"updates": lambda self, steps, per_epoch: ["now"]},
}


@pytest.mark.parametrize(("what", "members"), WRONG.items(), ids=WRONG)
def test_wrong_answers_are_refused_in_one_line_that_names_the_plugin(tmp_path, what, members):
    with pytest.raises(SddError) as caught:
        go(small(sparse_training=moving(**members)), tmp_path)
    assert what in str(caught.value)
    assert "sparse training 'bad'" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_a_plugin_does_to_its_view_changes_nothing(tmp_path):
    def vandal(self, view):
        for part in (view.weights, view.gradients, view.masks, view.before):
            for tensor in part.values():
                tensor.zero_()
        return {n: m.clone() for n, m in view._masks.items()}

    static = go(small(), tmp_path).levels[1]
    level = go(small(sparse_training=moving(masks=vandal)), tmp_path).levels[1]
    assert kept(level) == kept(static)
    assert level.metrics["moved"] == 0
    assert any(tensor.any() for tensor in level.state_dict().values())


def test_momenta_are_those_of_the_optimizer(tmp_path):
    seen = {}

    def look(self, view):
        seen.update(view.momenta)
        return view.masks

    go(small(sparse_training=moving(masks=look), levels=1), tmp_path / "sgd")
    assert seen["hidden1.weight"].any()
    seen.clear()
    train = {"epochs": 3, "optimizer": "AdamW", "lr": 0.01}
    go(small(sparse_training=moving(masks=look), levels=1, train=train), tmp_path / "adam")
    assert seen == {}


def test_levels_without_training_keep_the_masks_of_the_pruner(tmp_path):
    settings = small(retrain={"name": "finetune", "epochs": 0}, sparse_training=METHODS["gmp"])
    levels = go(settings, tmp_path).levels
    assert all(int(b["hidden1.weight"].sum()) < int(a["hidden1.weight"].sum())
               for a, b in pairwise(level.masks for level in levels))


def test_a_plugin_is_an_experiment_option_like_others(tmp_path):
    experiment = Experiment.make(small(sparse_training={"name": "rigl", "every": 7}))
    assert isinstance(experiment.sparse_training, SparseTraining)
    again = Experiment.make(copy.deepcopy(experiment.to_dict()))
    assert again == experiment
    assert "sparse_training" not in Experiment.make(small()).to_dict()

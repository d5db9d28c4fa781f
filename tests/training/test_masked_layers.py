"""Levels of any network whose masked layers compute with their kept weights."""

from __future__ import annotations

import copy
import json

import pytest
import torch
from support import go, small
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from training_cases import (
    assert_equal,
    dataset,
    experiment,
    gap,
    random_masks,
    resident,
    take_steps,
)

import sdd_core
from sdd_core.sparse.costs import KernelCosts
from sdd_core.training.dense_trainer import DenseTrainer
from sdd_core.training.select import TrainerFactory
from sdd_core.training.trainer import Objective

FREE = KernelCosts(masked_weight=0.0, masked_number=0.0, masked_call=0.0)


class Tokens(nn.Module):
    """Rows of an image as tokens, an own layer, dropout, pooling and normalisation."""

    def __init__(self) -> None:
        super().__init__()
        # A bias would have gradients of rounding alone, which AdamW makes large.
        self.conv = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.norm, self.pool = nn.BatchNorm2d(16), nn.MaxPool2d(2)
        self.mix = nn.Linear(64, 32)
        self.drop = nn.Dropout(0.2)
        self.head = nn.Linear(32, 5)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.pool(self.norm(self.conv(images)).relu())
        tokens = maps.transpose(1, 2).flatten(2)  # [N, rows, channels x columns]
        return self.head(self.drop(nn.functional.gelu(self.mix(tokens))).mean(1))


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return Tokens()


def made(model: nn.Module, masks, data, engine="auto", options=None, **settings) -> DenseTrainer:
    trainers = TrainerFactory(model, resident(data), experiment(engine, **settings), FREE)
    trainer = trainers.make(model, masks, **(options or {}))
    assert isinstance(trainer, DenseTrainer)
    return trainer


SPARSE = ("conv=sparse", "mix=sparse")


class Squares(sdd_core.Loss):
    """An own loss."""

    name = "squares"
    source = "none"

    def loss(self, logits, labels, teacher):
        return cross_entropy(logits, labels) + 0.01 * logits.square().mean()


@pytest.mark.parametrize(("settings", "objective"), [
    ({}, None),
    ({"optimizer": "AdamW"}, Objective()),
    ({"norm_penalty": 1e-3}, Objective()),
    ({}, Objective(Squares())),
    ({}, Objective(sdd_core.Experiment.make({"loss": "generalised-cross-entropy"}).loss)),
])
def test_a_level_agrees_with_dense_arithmetic(settings, objective):
    data, found = dataset(augmented=True), {}
    masks = random_masks(network(), 0.3)
    masks.pop("head.weight")
    for engine in ("auto", "none"):
        one = made(network(), masks, data, engine, {"objective": objective}, **settings)
        torch.manual_seed(1)
        take_steps(one, data, 0, 6, 0.01)
        found[engine] = one.state(), one.evaluate("test"), one
    assert found["auto"][2].kernels == SPARSE
    assert found["none"][2].kernels == ()
    assert gap(found["auto"][0], found["none"][0]) < 1e-3
    assert found["auto"][1] == pytest.approx(found["none"][1], rel=1e-3)
    for name, mask in masks.items():
        assert not found["auto"][0][name][~mask].any()


def test_goes_on_bit_for_bit_with_the_kernels_of_the_checkpoint():
    data, masks = dataset(augmented=True), random_masks(network(), 0.3)
    whole = made(network(), masks, data)
    torch.manual_seed(1)
    take_steps(whole, data, 0, 7)
    first = made(network(), masks, data)
    torch.manual_seed(1)
    take_steps(first, data, 0, 3)
    drawn = torch.get_rng_state()
    copied = network(seed=1)
    copied.load_state_dict(copy.deepcopy(first.state()))
    options = {"momenta": first.momenta(), "kernels": first.kernels}
    dear = KernelCosts(masked_call=1e12)
    trainers = TrainerFactory(copied, resident(data), experiment(), dear)
    rest = trainers.make(copied, masks, **options)
    torch.set_rng_state(drawn)
    take_steps(rest, data, 3, 4)
    assert rest.kernels == whole.kernels != ()
    assert_equal(rest.state(), whole.state())
    assert rest.evaluate("train") == whole.evaluate("train")


class Late(nn.Module):
    """The second layer computes from the third step on only."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(192, 32), nn.Linear(32, 32)
        self.head = nn.Linear(32, 5)
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))

    def forward(self, images: Tensor) -> Tensor:
        self.steps += int(self.training)
        inputs = self.first(images.flatten(1)).relu()
        return self.head(self.second(inputs).relu() if self.steps > 2 else inputs)


@pytest.mark.parametrize("first", ["sparse", "dense"])
def test_goes_on_bit_for_bit_with_layers_that_were_not_called_yet(first):
    data = dataset()
    masks = random_masks(Late(), 0.3)
    masks.pop("head.weight")
    if first == "dense":
        masks["first.weight"][:] = True
        masks["first.weight"][0, 0] = False
    costs = KernelCosts(masked_weight=5.0, masked_number=0.0, masked_call=0.0)

    def trainer(state, options):
        network = Late()
        network.load_state_dict(copy.deepcopy(state))
        return TrainerFactory(network, resident(data), experiment(), costs).make(
            network, masks, **options)

    torch.manual_seed(0)
    whole = trainer(start := Late().state_dict(), {})
    take_steps(whole, data, 0, 5)
    part = trainer(start, {})
    take_steps(part, data, 0, 2)
    assert part.kernels == (f"first={first}", "second=undecided")
    rest = trainer(part.state(), {"momenta": part.momenta(), "kernels": part.kernels})
    take_steps(rest, data, 2, 3)
    assert rest.kernels == whole.kernels == (f"first={first}", "second=sparse")
    assert_equal(rest.state(), whole.state())


def test_where_it_does_not_pay_nothing_changes():
    data, masks, found = dataset(), random_masks(network(), 0.3), []
    for engine in ("auto", "none"):
        model = network()
        trainers = TrainerFactory(model, resident(data), experiment(engine))
        one = trainers.make(model, masks)
        torch.manual_seed(1)
        take_steps(one, data, 0, 5)
        assert one.kernels == ()
        found.append(one.state())
    assert_equal(*found)


def test_the_network_is_unchanged_afterwards():
    data, model = dataset(), network()
    one = made(model, random_masks(model, 0.3), data)
    before = [dict(vars(module)) for module in model.modules()]
    take_steps(one, data, 0, 2)
    one.evaluate("test")
    after = [dict(vars(module)) for module in model.modules()]
    for one_, other in zip(before, after, strict=True):
        assert one_.keys() == other.keys()
        assert "forward" not in other


def _pruned_gradients(one: DenseTrainer, masks) -> float:
    parameters = dict(one.network.named_parameters())
    return sum(float(parameters[name].grad[~mask].abs().sum()) for name, mask in masks.items())


def test_gradients_of_pruned_weights_exist_only_where_they_are_needed(monkeypatch):
    for method in ("_regularise", "_update"):
        monkeypatch.setattr(DenseTrainer, method, lambda *_: None)
    data, model = dataset(), network()
    masks = random_masks(model, 0.3)
    masks.pop("head.weight")
    one = made(model, masks, data)
    take_steps(one, data, 0, 1)
    assert _pruned_gradients(one, masks) == 0
    one.needs_all_gradients = True
    take_steps(one, data, 1, 1)
    assert _pruned_gradients(one, masks) > 0


def test_lifted_masks_train_all_weights():
    data, model = dataset(), network()
    masks = random_masks(model, 0.3)
    one = made(model, masks, data)
    take_steps(one, data, 0, 1)
    one.unmask()
    take_steps(one, data, 1, 2)
    assert all(one.state()[name][~mask].any() for name, mask in masks.items())


def test_pruned_weights_that_keep_their_values_count():
    data, masks = dataset(), random_masks(network(), 0.3)
    found = []
    for engine in ("auto", "none"):
        one = made(network(), masks, data, engine, {"objective": Objective(frozen=True)})
        torch.manual_seed(1)
        take_steps(one, data, 0, 3)
        assert one.kernels == ()
        found.append(one.state())
    assert_equal(*found)


def test_masks_that_move():
    data, masks, found = dataset(), random_masks(network(), 0.3), []
    for engine in ("auto", "none"):
        one = made(network(), masks, data, engine)
        torch.manual_seed(1)
        take_steps(one, data, 0, 2)
        one.remask(random_masks(network(), 0.4, seed=1), {})
        take_steps(one, data, 2, 2)
        found.append(one.state())
        assert (one.kernels != ()) == (engine == "auto")
    assert gap(*found) < 1e-3
    for name, mask in random_masks(network(), 0.4, seed=1).items():
        assert not found[0][name][~mask].any()


def test_the_masks_that_masks_move_to_decide():
    model, data = network(), dataset()
    few, many = (random_masks(model, density) for density in (0.01, 0.9))
    costs = KernelCosts(masked_weight=10.0, masked_number=0.0, masked_call=0.0)
    for chosen_by, kernels in ((few, SPARSE), (many, ())):
        trainers = TrainerFactory(model, resident(data), experiment(), costs)
        one = trainers.make(model, few, chosen_by=chosen_by)
        take_steps(one, data, 0, 1)
        assert one.kernels == (kernels and (*kernels, "head=dense"))


def test_whoever_observes_steps_sees_all_gradients():
    class Seen:
        masks = None

        def step(self, batch, learning_rate, weights, gradients):
            self.gradients = {name: tensor.clone() for name, tensor in gradients.items()}

    data, model, seen = dataset(), network(), Seen()
    masks = random_masks(model, 0.3)
    one = made(model, masks, data, options={"observation": seen})
    take_steps(one, data, 0, 1)
    assert one.kernels == ()
    assert all(seen.gradients[name][~mask].any() for name, mask in masks.items())


def test_metrics_of_a_perceptron_with_masked_layers_on_the_general_path(tmp_path):
    """Its layers have kernels, but not those of a whole perceptron, which know SGD alone."""
    settings = small(
        model={"name": "mlp", "widths": [1000]}, levels=1, pruner={"sparsity": 0.95},
        train={"epochs": 1, "optimizer": "AdamW", "lr": 0.001, "batch_size": 256},
    )  # fmt: skip
    found = go(settings, tmp_path)
    records = [json.loads(file.read_text())
               for file in (tmp_path / ".shared" / "levels").glob("*/level.json")]
    kernels = {record["level"]: record["kernels"] for record in records}
    assert kernels[0] == []
    assert "hidden1=sparse" in kernels[1]
    for level in found.levels:
        assert level.metrics["train_accuracy_clean"] is not None
        assert level.metrics["calibration_error"] is not None

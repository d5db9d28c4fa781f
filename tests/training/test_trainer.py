"""The general path against torch's own optimizer."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from training_cases import (
    SHAPE,
    assert_equal,
    dataset,
    experiment,
    gap,
    perceptron,
    plain_steps,
    random_masks,
    resident,
    take_steps,
)

from sdd_core import Optimizer, SddError
from sdd_core.experiment.train import Train
from sdd_core.training.dense_trainer import DenseTrainer
from sdd_core.training.optimizer_state import TorchOptimizers


def convolutional(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, bias=False), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(54, 5),
    )  # fmt: skip


def flat(network, masks, data, momenta=None) -> DenseTrainer:
    return DenseTrainer(network, masks, resident(data), experiment().train, momenta)


@pytest.mark.parametrize("density", [1.0, 0.3])
@pytest.mark.parametrize("make", [lambda: perceptron(192, 20, 5), convolutional])
@pytest.mark.parametrize(("steps", "tolerance"), [(1, 1e-5), (20, 1e-3)])
def test_takes_the_steps_of_torchs_sgd(make, density, steps, tolerance):
    ours, theirs, data = make(), make(), dataset()
    masks = random_masks(ours, density)
    trainer = flat(ours, masks, data)
    take_steps(trainer, data, 0, steps)
    optimizer = plain_steps(theirs, masks, data, steps)
    assert gap(trainer.state(), theirs.state_dict()) < tolerance
    # Behind a pruned weight torch's momentum goes on; it is never seen.
    buffers = {
        name: optimizer.state[p]["momentum_buffer"] * masks.get(name, torch.ones(()))
        for name, p in theirs.named_parameters()
    }
    assert gap(trainer.momenta(), buffers) < 10 * tolerance
    for name, mask in masks.items():
        pruned = trainer.state()[name][~mask]
        assert not pruned.any()
        assert not pruned.signbit().any()
        assert not trainer.momenta()[name][~mask].any()


def test_goes_on_from_a_state_and_momenta_bit_for_bit():
    data, masks = dataset(augmented=True), random_masks(convolutional(), 0.4)
    whole = flat(convolutional(), masks, data)
    take_steps(whole, data, 0, 7)
    first = flat(convolutional(), masks, data)
    take_steps(first, data, 0, 3)
    network = convolutional(seed=1)
    network.load_state_dict(copy.deepcopy(first.state()))
    rest = flat(network, masks, data, first.momenta())
    take_steps(rest, data, 3, 4)
    assert_equal(rest.state(), whole.state())
    assert_equal(rest.momenta(), whole.momenta())


def test_parameters_may_be_views_with_gaps():
    apart, plain, data = perceptron(192, 6, 5), perceptron(192, 6, 5), dataset()
    apart[1].weight = nn.Parameter(torch.zeros(6, 400)[:, ::2][:, :192])
    apart[1].weight.data.copy_(plain[1].weight.data)
    assert apart[1].weight.stride() == (400, 2)
    trainers = [flat(network, random_masks(network, 0.5), data) for network in (apart, plain)]
    for trainer in trainers:
        take_steps(trainer, data, 0, 3)
    assert_equal(*(trainer.state() for trainer in trainers))


class Fading(torch.optim.Optimizer):
    """Keeps its own count, and a rate in double precision."""

    @torch.no_grad()
    def step(self, closure=None):
        (weight,) = self.param_groups[0]["params"]
        memory = self.state[weight]
        memory["count"] = memory.get("count", 0) + 1
        memory["odd"] = not memory.get("odd", False)
        memory["rate"] = memory.get("rate", 0.1) * (1 - 1 / 3)
        memory["total"] = memory.get("total", torch.zeros(())) + 1
        weight.sub_(weight.grad, alpha=memory["rate"] / memory["count"])


def test_what_an_optimizer_remembers_comes_back_as_it_was():
    weights = torch.ones(3)
    weights.grad = torch.full((3,), 0.3)
    made = []

    class Fades(Optimizer):
        """Returns the optimizer above."""

        name = "fades"

        def make(self, weights, lr, weight_decay):
            made.append(Fading([weights], {}))
            return made[-1]

    first, second = (TorchOptimizers(Train(optimizer=Fades()), weights, {}) for _ in range(2))
    for _ in range(5):
        first.step(0.1, lambda: weights)
    memory = first.memory()
    assert set(memory) == {"number count", "number odd", "number rate", "total"}
    assert all(isinstance(value, torch.Tensor) for value in memory.values())
    second.restore(memory)
    one, other = (optimizer.state[weights] for optimizer in made)
    assert one == other
    assert [type(value) for value in other.values()] == [int, bool, float, torch.Tensor]
    other["history"] = []
    with pytest.raises(SddError, match="its state has 'history' of type list; checkpoints"):
        second.memory()
    other["history"] = torch.ones(2) * 1j
    with pytest.raises(SddError, match=r"its state has 'history' of torch\.complex64; checkpoints"):
        second.memory()


def test_evaluates_the_network_as_it_is_used():
    data, network = dataset(), convolutional()
    trainer = flat(network, {}, data)
    take_steps(trainer, data, 0, 3)
    loss, accuracy = trainer.evaluate("test")
    images = (data.test.images.double() / 255 - 0.5) / 0.2
    with torch.no_grad():
        logits = copy.deepcopy(network).double().eval()(images)
    assert loss == pytest.approx(nn.functional.cross_entropy(logits, data.test.labels).item())
    assert accuracy == (logits.argmax(1) == data.test.labels).double().mean().item()
    assert trainer.evaluate("train") != (loss, accuracy)


def test_state_is_a_copy_in_the_usual_layout():
    data, network = dataset(), convolutional()
    trainer = flat(network, {}, data)
    before = trainer.state()
    assert all(tensor.is_contiguous() for tensor in before.values())
    kept = {name: tensor.clone() for name, tensor in before.items()}
    take_steps(trainer, data, 0, 1)
    assert_equal(before, kept)
    assert before["0.weight"].shape == (6, *SHAPE[:1], 3, 3)

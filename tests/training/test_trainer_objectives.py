"""What is minimised beside cross-entropy, and by what, against torch's own arithmetic."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from training_cases import (
    BATCH,
    assert_equal,
    dataset,
    experiment,
    gap,
    perceptron,
    random_masks,
    resident,
    take_steps,
)

from sdd_core import Experiment, Loss, SddError
from sdd_core.training.dense_trainer import DenseTrainer
from sdd_core.training.trainer import Objective

WIDTHS = (192, 20, 5)
RATE = 0.05


def flat(network, masks, objective=None, momenta=None, **train) -> DenseTrainer:
    settings = experiment(**train).train
    return DenseTrainer(network, masks, resident(dataset()), settings, momenta, objective)


def textbook_steps(network, masks, optimizer, count, penalty=None, hold=None) -> None:
    """Steps of an optimizer of torch on a loss that autograd differentiates as it stands, after
    each of which pruned weights are put back to where they are held (None: zero)."""
    source = resident(dataset())
    weights = dict(network.named_parameters())

    def put_back() -> None:
        with torch.no_grad():
            for name, mask in masks.items():
                at = torch.zeros(()) if hold is None else hold[name]
                weights[name].copy_(torch.where(mask, weights[name], at))

    put_back()
    batches = [c for epoch in range(count) for c in source.order(0, 1, epoch).split(BATCH)]
    for chosen in batches[:count]:
        optimizer.zero_grad()
        loss = cross_entropy(network(source.train_images[chosen]), source.train_labels[chosen])
        (loss if penalty is None else loss + penalty(weights)).backward()
        optimizer.step()
        put_back()


def start_of(network: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


@pytest.mark.parametrize("density", [1.0, 0.3])
def test_distance_penalty_has_the_gradient_that_autograd_finds(density):
    """Of lambda^2/2 ||w - anchor||^2 with lambda = 0.7 and an anchor that is not the start."""
    ours, theirs = perceptron(*WIDTHS), perceptron(*WIDTHS)
    masks = random_masks(ours, density)
    anchor = {name: tensor + 0.1 for name, tensor in start_of(ours).items()}
    trainer = flat(ours, masks, Objective(anchor=anchor), distance_penalty=0.7)
    take_steps(trainer, dataset(), 0, 9, RATE)

    def penalty(weights):
        return 0.7**2 / 2 * sum(((weights[n] - anchor[n]) ** 2).sum() for n in weights)

    sgd = torch.optim.SGD(theirs.parameters(), lr=RATE, momentum=0.9, weight_decay=1e-3)
    textbook_steps(theirs, masks, sgd, 9, penalty)
    assert gap(trainer.state(), theirs.state_dict()) < 1e-5

    without = flat(perceptron(*WIDTHS), masks)
    take_steps(without, dataset(), 0, 9, RATE)
    assert gap(without.state(), trainer.state()) > 1e-2


def test_distance_penalty_keeps_the_weights_near():
    def distance(penalty: float) -> float:
        network = perceptron(*WIDTHS)
        anchor = start_of(network)
        trainer = flat(network, {}, Objective(anchor=anchor), distance_penalty=penalty)
        take_steps(trainer, dataset(), 0, 40, RATE)
        return sum(float((w - anchor[n]).norm() ** 2) for n, w in trainer.state().items())

    assert distance(1.0) < 0.5 * distance(0.0)


@pytest.mark.parametrize("name", ["sgd", "Adam"])
def test_penalty_on_scales_has_the_gradient_that_autograd_finds(name):
    """Of lambda sum |gamma|, at scales of either sign, and nothing else."""
    def network() -> nn.Module:
        torch.manual_seed(0)
        made = nn.Sequential(
            nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(216, 8),
            nn.BatchNorm1d(8), nn.LayerNorm(8), nn.Linear(8, 5),
        )  # fmt: skip
        for layer in (made[1], made[5]):
            nn.init.normal_(layer.weight)
        return made

    ours, theirs = network(), network()
    trainer = flat(ours, {}, optimizer=name, norm_penalty=0.3, weight_decay=0.01)
    take_steps(trainer, dataset(), 0, 5, 0.01)

    def penalty(weights):
        return 0.3 * (weights["1.weight"].abs().sum() + weights["5.weight"].abs().sum())

    settings = {"momentum": 0.9} if name == "sgd" else {}
    kind = torch.optim.SGD if name == "sgd" else torch.optim.Adam
    optimizer = kind(theirs.parameters(), lr=0.01, weight_decay=0.01, **settings)
    textbook_steps(theirs, {}, optimizer, 5, penalty)
    assert gap(trainer.state(), theirs.state_dict()) < 1e-3
    without = flat(network(), {}, optimizer=name, weight_decay=0.01)
    take_steps(without, dataset(), 0, 5, 0.01)
    assert gap(without.state(), trainer.state()) > 2e-2


OPTIMIZERS = ["AdamW", "Adam", "RMSprop", "NAdam", "Adagrad"]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_takes_the_steps_of_torchs_optimizers(name):
    """Theirs has a tensor for each parameter, ours one for all."""
    ours, theirs = perceptron(*WIDTHS), perceptron(*WIDTHS)
    masks = random_masks(ours, 0.3)
    trainer = flat(ours, masks, optimizer=name, weight_decay=0.1)
    take_steps(trainer, dataset(), 0, 10, 0.003)
    kind = getattr(torch.optim, name)
    optimizer = kind(theirs.parameters(), lr=0.003, weight_decay=0.1)
    textbook_steps(theirs, masks, optimizer, 10)
    assert gap(trainer.state(), theirs.state_dict()) < 1e-4
    for weight, mask in masks.items():
        assert not trainer.state()[weight][~mask].any()


@pytest.mark.parametrize("name", ["sgd", *OPTIMIZERS])
def test_held_weights_stay_exactly_where_they_are(name):
    """Weight decay and the penalty, which both draw on weights, do not reach them."""
    network, other = perceptron(*WIDTHS), perceptron(*WIDTHS)
    start, masks = start_of(network), random_masks(network, 0.5)
    zero = {name: torch.zeros_like(tensor) for name, tensor in start.items()}
    objective = Objective(anchor=zero, frozen=True)
    trainer = flat(network, masks, objective, optimizer=name, weight_decay=0.1,
                   distance_penalty=0.5)  # fmt: skip
    take_steps(trainer, dataset(), 0, 10, 0.01)
    for weight, mask in masks.items():
        assert torch.equal(trainer.state()[weight][~mask], start[weight][~mask])
        assert not torch.equal(trainer.state()[weight][mask], start[weight][mask])

    def penalty(weights):
        return 0.5**2 / 2 * sum((w**2).sum() for w in weights.values())

    settings = {"momentum": 0.9} if name == "sgd" else {}
    kind = torch.optim.SGD if name == "sgd" else getattr(torch.optim, name)
    optimizer = kind(other.parameters(), lr=0.01, weight_decay=0.1, **settings)
    textbook_steps(other, masks, optimizer, 10, penalty, hold=start)
    assert gap(trainer.state(), other.state_dict()) < 1e-4


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_goes_on_from_what_it_remembered_bit_for_bit(name):
    data, masks = dataset(), random_masks(perceptron(*WIDTHS), 0.4)
    whole = flat(perceptron(*WIDTHS), masks, optimizer=name)
    take_steps(whole, data, 0, 7, 0.01)
    first = flat(perceptron(*WIDTHS), masks, optimizer=name)
    take_steps(first, data, 0, 3, 0.01)
    network = perceptron(*WIDTHS, seed=1)
    network.load_state_dict(copy.deepcopy(first.state()))
    memory = first.momenta()
    kept = {key: value.clone() for key, value in memory.items()}
    rest = flat(network, masks, momenta=memory, optimizer=name)
    take_steps(rest, data, 3, 4, 0.01)
    assert_equal(rest.state(), whole.state())
    assert_equal(rest.momenta(), whole.momenta())
    assert_equal(memory, kept)  # it went on from a copy


def test_unmasked_weights_train_from_zero_and_the_others_go_on():
    network, data = perceptron(*WIDTHS), dataset()
    masks = random_masks(network, 0.4)
    trainer = flat(network, masks)
    take_steps(trainer, data, 0, 4, RATE)
    halfway = trainer.state()
    trainer.unmask()
    take_steps(trainer, data, 4, 1, RATE)
    first_step = trainer.state()
    for name, mask in masks.items():
        assert not halfway[name][~mask].any()
        assert first_step[name][~mask].abs().max() > 0
    # As a network that goes on without masks from the same weights and momenta.
    other = perceptron(*WIDTHS)
    again = flat(other, masks)
    take_steps(again, data, 0, 4, RATE)
    free = perceptron(*WIDTHS)
    free.load_state_dict(again.state())
    dense = flat(free, {}, momenta=again.momenta())
    take_steps(dense, data, 4, 1, RATE)
    assert_equal(first_step, dense.state())


class Seen(Loss):
    """Notes what it is given."""

    name = "seen"

    def loss(self, logits, labels, teacher):
        SEEN.append((logits.detach().clone(), labels.clone(), teacher))
        return cross_entropy(logits, labels)


SEEN: list[tuple[Tensor, Tensor, Tensor | None]] = []


def test_a_loss_is_given_the_labels_and_the_teachers_logits_of_its_batch():
    SEEN.clear()
    data = dataset()
    teacher = torch.arange(500.0).view(100, 5)
    trainer = flat(perceptron(*WIDTHS), {}, Objective(loss=Seen(), teacher=teacher))
    take_steps(trainer, data, 0, 4)
    order = resident(data).order(0, 1, 0)
    batches = order.split(BATCH)
    assert len(SEEN) == len(batches) == 4
    for (logits, labels, told), chosen in zip(SEEN, batches, strict=True):
        assert logits.shape == (len(chosen), 5)
        assert torch.equal(labels, data.train.labels[chosen])
        assert told is not None
        assert torch.equal(told, teacher[chosen])


def test_a_loss_of_ones_own_that_is_cross_entropy_trains_alike():
    ours, plain = (perceptron(*WIDTHS) for _ in range(2))
    one, other = flat(ours, {}, Objective(loss=Seen())), flat(plain, {})
    take_steps(one, dataset(), 0, 6)
    take_steps(other, dataset(), 0, 6)
    assert_equal(one.state(), other.state())
    assert SEEN[-1][2] is None


@pytest.mark.parametrize("name", ["Nonsense", "SGD", "LBFGS", "SparseAdam", "Muon", "adamw"])
def test_optimizers_that_are_none_are_refused(name):
    with pytest.raises(SddError, match=rf"train\.optimizer: unknown optimizer '{name}'"):
        experiment(optimizer=name)


@pytest.mark.parametrize(
    "train",
    [
        {"optimizer": "a.b"},
        {"optimizer": ""},
        {"distance_penalty": -1},
        {"norm_penalty": -1},
        {"stop_loss": -0.1},
        {"warmup_epochs": -1},
        {"decay": "sine"},
    ],
)
def test_settings_that_mean_nothing_are_refused(train):
    with pytest.raises(SddError, match=next(iter(train))):
        Experiment.make({"train": train})



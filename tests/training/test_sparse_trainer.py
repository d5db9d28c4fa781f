"""The sparse kernels behind a trainer's face, against the general path."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from sparse.residual import ResNet
from torch import nn
from training_cases import (
    BATCH,
    assert_equal,
    dataset,
    gap,
    perceptron,
    random_masks,
    resident,
    take_steps,
    trainer,
)

from sdd_core.level.evaluation import evaluate
from sdd_core.level.retraining import Retraining
from sdd_core.runs.store import Store
from sdd_core.sparse.costs import KernelCosts
from sdd_core.training.dense_trainer import DenseTrainer
from sdd_core.training.loop import Task, Watcher, train_level
from sdd_core.training.sparse_trainer import SparseTrainer


def small_perceptron(seed: int = 0) -> nn.Module:
    return perceptron(192, 40, 20, 5, seed=seed)


def small_resnet(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return ResNet((8, 12), 1)


MAKERS = pytest.mark.parametrize("make", [small_perceptron, small_resnet])

# As the costs choose, and with dense layers.
KERNELS = pytest.mark.parametrize(
    ("make", "kernels"),
    [(small_perceptron, None), (small_perceptron, ("dense", "sparse", "dense")),
     (small_resnet, None)],
)  # fmt: skip


@MAKERS
@pytest.mark.parametrize("augmented", [False, True])
@pytest.mark.parametrize(("steps", "tolerance"), [(1, 1e-4), (20, 1e-3)])
def test_follows_the_general_path(make, augmented, steps, tolerance):
    data, masks = dataset(augmented=augmented), random_masks(make(), 0.2)
    ours = trainer(make(), masks, data)
    theirs = trainer(make(), masks, data, "none")
    assert isinstance(ours, SparseTrainer)
    assert isinstance(theirs, DenseTrainer)
    for one in (ours, theirs):
        take_steps(one, data, 0, steps)
    assert gap(ours.state(), theirs.state()) < tolerance
    assert gap(ours.momenta(), theirs.momenta()) < 10 * tolerance
    for part in ("train", "test"):
        (loss, accuracy), expected = ours.evaluate(part), theirs.evaluate(part)
        assert loss == pytest.approx(expected[0], rel=10 * tolerance)
        assert accuracy == pytest.approx(expected[1], abs=0.011)
    for name, mask in masks.items():
        for pruned in (ours.state()[name][~mask], ours.momenta()[name][~mask]):
            assert not pruned.any()
            assert not pruned.signbit().any()


def test_perceptron_follows_the_general_path_for_many_steps():
    """As many as rounding allows: sooner or later a unit is on either side of zero. Over 200 steps
    the kernels themselves are compared in double precision."""
    data, masks = dataset(), random_masks(small_perceptron(), 0.2)
    ours = trainer(small_perceptron(), masks, data)
    theirs = trainer(small_perceptron(), masks, data, "none")
    for one in (ours, theirs):
        take_steps(one, data, 0, 60, rate=0.01)
    assert gap(ours.state(), theirs.state()) < 1e-3


def test_units_without_inputs_or_outputs_do_as_on_the_general_path():
    masks = random_masks(small_perceptron(), 0.3)
    masks["1.weight"][:5] = False  # no input: the bias alone trains
    masks["3.weight"][:, 5:10] = False  # no output: weight decay alone
    masks["3.weight"][0] = False
    data, states = dataset(), []
    for engine in ("auto", "none"):
        one = trainer(small_perceptron(), masks, data, engine)
        take_steps(one, data, 0, 20)
        states.append(one.state())
    assert gap(*states) < 1e-3
    start = perceptron(192, 40, 20, 5).state_dict()
    for name, units in (("1.bias", slice(0, 5)), ("1.weight", slice(5, 10)), ("3.bias", slice(1))):
        moved = states[0][name][units] - start[name][units]
        assert moved.abs().max() > 1e-4
    assert np.allclose(*(state["1.weight"][5:10].numpy() for state in states), rtol=1e-5)


class OfNumbers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = perceptron(1, 20, 5)[1:]

    def forward(self, numbers):
        return self.layers(numbers.view(-1, 1))


def test_examples_may_be_single_numbers():
    data, states = dataset(()), []
    for engine in ("auto", "none"):
        one = trainer(OfNumbers(), random_masks(OfNumbers(), 0.6), data, engine)
        take_steps(one, data, 0, 5)
        states.append(one.state())
        assert bool(one.kernels) == (engine == "auto")
        assert one.evaluate("test")[0] > 0
    assert gap(*states) < 1e-4


@KERNELS
@pytest.mark.parametrize("augmented", [False, True])
def test_goes_on_from_every_checkpoint_bit_for_bit(make, kernels, augmented, tmp_path, monkeypatch):
    monkeypatch.setattr("sdd_core.training.loop.CHUNK", 2)
    data, masks, store = dataset(augmented=augmented), random_masks(make(), 0.3), Store(tmp_path)
    source = resident(data)
    schedule = Retraining("initialisation", np.linspace(0.1, 0.01, 11), first_step=1)

    class Always(Watcher):
        def may_keep(self, checkpoint):
            checkpoints.append(checkpoint())

    def train(one, **options):
        return train_level(one, source, Task(schedule, 3, 2, BATCH), **options)

    checkpoints = []
    whole = trainer(make(), masks, data, kernels=kernels)
    epochs = train(whole, watcher=Always())
    assert len(checkpoints) > 4
    never = KernelCosts(sparse_first=1e9, sparse_inner=1e9, sparse_pixel=1e9)
    for checkpoint in checkpoints:
        store.checkpoints.save("level", checkpoint)
        found = store.checkpoints.load("level")
        assert found.kernels == whole.kernels != ()
        network = make(seed=1)
        network.load_state_dict(dict(found.state))
        # Costs that were measured anew meanwhile must not change how the level goes on.
        rest = trainer(
            network, masks, data, momenta=found.momenta, kernels=found.kernels, costs=never
        )
        assert rest.kernels == whole.kernels
        assert train(rest, resume=found) == epochs
        assert_equal(rest.state(), whole.state())
        assert_equal(rest.momenta(), whole.momenta())


def test_counts_the_batches_that_a_norm_has_seen():
    data, network = dataset(), small_resnet()
    one = trainer(network, random_masks(network, 0.2), data)
    for taken in (3, 5):
        take_steps(one, data, 0, taken)
        one.momenta()
        one.state()
    assert one.state()["bn.num_batches_tracked"] == 8


@MAKERS
def test_draws_no_random_number_and_leaves_the_data_alone(make):
    data = dataset()
    network = make()
    masks = random_masks(network, 0.2)
    images = data.train.images.clone()
    torch.manual_seed(7)
    one = trainer(network, masks, data)
    take_steps(one, data, 0, 2)
    one.evaluate("train")
    drawn = torch.rand(3)
    torch.manual_seed(7)
    assert torch.equal(drawn, torch.rand(3))
    assert torch.equal(images, data.train.images)


@KERNELS
def test_threads_change_no_bit(make, kernels):
    data, masks, threads = dataset(), random_masks(make(), 0.2), torch.get_num_threads()
    results = []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            one = trainer(make(), masks, data, kernels=kernels)
            take_steps(one, data, 0, 4)
            results.append((one.state(), one.evaluate("train")))
    finally:
        torch.set_num_threads(threads)
    assert_equal(results[0][0], results[1][0])
    assert results[0][1] == results[1][1]


@MAKERS
def test_images_that_stay_bytes_train_alike(make, monkeypatch):
    data, masks = dataset(), random_masks(make(), 0.2)
    kept = trainer(make(), masks, data)
    take_steps(kept, data, 0, 5)
    loss = kept.evaluate("test")
    monkeypatch.setattr("sdd_core.data.resident.NORMALISED_BYTES", 0)
    bytes_ = trainer(make(), masks, data)
    assert resident(data).train_images.dtype == torch.uint8
    take_steps(bytes_, data, 0, 5)
    assert_equal(kept.state(), bytes_.state())
    assert bytes_.evaluate("test") == loss


@MAKERS
def test_a_network_that_diverges_says_so(make):
    data, masks = dataset(), random_masks(make(), 0.3)
    one = trainer(make(), masks, data)
    take_steps(one, data, 0, 8, rate=1e30)
    assert not math.isfinite(one.evaluate("test")[0])


def test_evaluation_is_that_of_the_network_it_stands_for():
    data, network = dataset(), small_resnet()
    one = trainer(network, random_masks(network, 0.2), data)
    take_steps(one, data, 0, 6)
    twin = copy.deepcopy(small_resnet())
    twin.load_state_dict(one.state())
    source = resident(data)
    loss, accuracy = evaluate(twin, source.test_images, source.test_labels, data)
    assert one.evaluate("test")[0] == pytest.approx(loss, rel=1e-5)
    assert one.evaluate("test")[1] == accuracy

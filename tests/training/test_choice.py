"""Which trainer a level gets."""

from __future__ import annotations

import builtins
import copy
import re
import sys

import pytest
import torch
from sparse.residual import ResNet
from torch import nn
from training_cases import (
    dataset,
    experiment,
    perceptron,
    random_masks,
    resident,
    take_steps,
    trainer,
)

import sdd_core
from sdd_core import SddError, install_hint
from sdd_core.sparse.costs import KernelCosts
from sdd_core.training.dense_trainer import DenseTrainer
from sdd_core.training.select import TrainerFactory


@pytest.fixture
def no_numba(monkeypatch):
    """As if numba could not be imported."""
    for name in [name for name in sys.modules if name.split(".")[0] == "numba"
                 or name.startswith(("sdd_core.sparse", "sdd_core.training.sparse_trainer"))]:
        monkeypatch.delitem(sys.modules, name)
    real = builtins.__import__

    def refuse(name, *rest, **options):
        if name.split(".")[0] == "numba":
            raise ImportError("no numba here")
        return real(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", refuse)


def test_sparse_kernels_where_they_know_all_layers():
    network = perceptron(192, 40, 5)
    assert trainer(network, random_masks(network, 0.1), dataset()).kernels == ("sparse", "sparse")
    # The matrix products of a small layer cost more by their calls than they save.
    assert trainer(perceptron(192, 300, 5), {}, dataset()).kernels == ("dense", "sparse")
    torch.manual_seed(0)
    network = ResNet((8, 12), 1)
    kernels = trainer(network, random_masks(network, 0.1), dataset()).kernels
    assert kernels == ("sparse",) * 6
    # Dense convolutions are torch's.
    assert trainer(ResNet((8, 12), 1), {}, dataset()).kernels == ()


@pytest.mark.parametrize(
    "network",
    [
        nn.Sequential(nn.Flatten(), nn.Linear(192, 9), nn.Tanh(), nn.Linear(9, 5)),
        nn.Sequential(nn.Flatten(), nn.Linear(192, 9), nn.Dropout(0.1), nn.Linear(9, 5)),
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5)),
    ],
)
def test_the_general_path_for_the_rest(network):
    one = trainer(network, random_masks(network, 0.1), dataset())
    assert isinstance(one, DenseTrainer)
    assert all(kernel.endswith("=undecided") for kernel in one.kernels)


@pytest.mark.parametrize(
    ("make", "name", "size"),
    [
        (lambda: perceptron(192, 40, 5), "1.bias", 40),
        (lambda: ResNet((8, 12), 1), "bn.weight", 8),
        (lambda: ResNet((8, 12), 1), "linear.bias", 5),
    ],
)
def test_the_general_path_where_another_parameter_has_a_mask(make, name, size):
    network = make()
    masks = random_masks(network, 0.1) | {name: torch.arange(size) < size // 2}
    assert isinstance(trainer(network, masks, dataset()), DenseTrainer)


@pytest.mark.parametrize("make", [lambda: perceptron(192, 40, 5), lambda: ResNet((8, 12), 1)])
def test_networks_that_are_built_alike_are_read_once(make, monkeypatch):
    data, networks = dataset(), [make() for _ in range(2)]
    trainers = TrainerFactory(make(), resident(data), experiment())
    monkeypatch.setattr("sdd_core.sparse.match.reader.trace", None)
    for network in networks:
        one = trainers.make(network, random_masks(network, 0.1))
        assert set(one.kernels) == {"sparse"}
        before = copy.deepcopy(network.state_dict())
        take_steps(one, data, 0, 1)
        one.state()  # writes to the network
        assert any((before[name] != value).any() for name, value in network.state_dict().items())


def test_reference_is_the_general_path():
    network = perceptron(192, 40, 5)
    one = trainer(network, random_masks(network, 0.1), dataset(), "none")
    assert isinstance(one, DenseTrainer)


def test_costs_decide():
    network = perceptron(192, 40, 5)
    masks = random_masks(network, 0.5)
    cheap, dear = KernelCosts(sparse_first=1.0), KernelCosts(sparse_first=100.0)
    free = KernelCosts(general_weight=0.0, general_step=0.0)
    assert trainer(network, masks, dataset(), costs=cheap).kernels[0] == "sparse"
    assert trainer(network, masks, dataset(), costs=dear).kernels[0] == "dense"
    assert isinstance(trainer(network, masks, dataset(), costs=free), DenseTrainer)


def test_a_checkpoint_decides_before_the_costs():
    network = perceptron(192, 40, 5)
    masks = random_masks(network, 0.1)
    for kernels in (("dense", "sparse"), ("sparse", "dense"), ()):
        one = trainer(network, masks, dataset(), kernels=kernels)
        assert one.kernels == kernels
        assert isinstance(one, DenseTrainer) == (kernels == ())


def test_without_numba_everything_trains_on_the_general_path(no_numba, tmp_path):
    settings = {"model": {"name": "mlp", "widths": [16]}, "train": {"epochs": 2}, "levels": 1}
    result = sdd_core.run(settings, store=tmp_path, device="cpu")
    assert len(result.levels) == 2
    assert all("numba" not in name.split(".")[0] for name in sys.modules)


def test_without_numba_a_level_begun_with_it_cannot_go_on(no_numba):
    network = perceptron(192, 40, 5)
    with pytest.raises(SddError, match=f"{re.escape(install_hint())}$"):
        trainer(network, random_masks(network, 0.1), dataset(), kernels=("sparse", "sparse"))



"""Copies of a network that is handed over: hooks, functions and states."""

import pytest
import torch
from torch import nn

from experiment.given import IMAGES, go, network
from sdd_core import Experiment, SddError
from sdd_core.experiment.keys import dense_key
from sdd_core.experiment.python_value import GivenModel


def halved(gradient):
    return gradient / 2


class Damped(nn.Sequential):
    """Hooks that are methods of the module, so that they have to become those of its copy."""

    def __init__(self):
        super().__init__(*network())
        self.register_buffer("factor", torch.tensor(0.5))
        self[1].weight.register_hook(self.damp)
        self[3].weight.register_post_accumulate_grad_hook(self.damp_in_place)

    def damp(self, gradient):
        return gradient * self.factor

    def damp_in_place(self, parameter):
        parameter.grad.mul_(self.factor)


def hooks_of(model):
    return [len(p._backward_hooks or ()) + len(p._post_accumulate_grad_hooks or ())
            for p in model.parameters()]


@pytest.mark.parametrize("engine", ["auto", "none"])
def test_gradient_hooks_of_a_module_take_part_in_training(tmp_path, engine):
    """They are no part of a copy that torch makes. With them it trains as one made by a function,
    whose own they are, and not as one without."""
    def accuracies(store, model):
        found = go(tmp_path / store, model=model, kernels=engine)
        return [epoch["train_loss"] for level in found.levels for epoch in level.epochs]

    losses = accuracies("module", Damped())
    assert losses == accuracies("function", Damped)
    assert losses != accuracies("without", nn.Sequential(*network()))


def test_copies_have_hooks_of_their_own():
    model = Damped()
    first = GivenModel.of(model).build((1, 4, 4), 3)
    assert hooks_of(first) == hooks_of(model) == [1, 0, 0, 0, 1, 0]
    first.factor.fill_(0.0)
    first(IMAGES).sum().backward()
    assert not first[1].weight.grad.any()
    assert not first[3].weight.grad.any()
    assert model.factor == 0.5


def test_gradient_hooks_count_in_keys():
    def key(*hooks):
        model = network()
        for hook in hooks:
            model[1].weight.register_hook(hook)
        return dense_key(Experiment.make({"model": model}))

    assert key() == key()
    assert key(halved) == key(halved)
    assert len({key(), key(halved), key(halved, halved), key(lambda g: g * 3)}) == 4


def patched_forward(model):
    original = model[1].forward
    model[1].forward = lambda inputs: original(inputs) / 2


def closed_over_module(model):
    model[1].register_forward_hook(lambda m, i, out: out * model[1].weight.norm())


def closed_over_buffer(model):
    mean = model[2].running_mean
    model[1].weight.register_hook(lambda gradient: gradient * mean.mean())


def default_argument(model):
    model[1].register_forward_pre_hook(lambda m, i, other=model[3]: None)


@pytest.mark.parametrize(
    "change", [patched_forward, closed_over_module, closed_over_buffer, default_argument]
)
def test_functions_that_stay_with_the_module_that_is_copied_are_refused(tmp_path, change):
    model = network()
    change(model)
    says = r"model 'Sequential': a hook or a replaced method refers to the "
    with pytest.raises(SddError, match=says):
        go(tmp_path / "store", model=model)
    assert not (tmp_path / "store").exists()

    def made():
        made = network()
        change(made)
        return made

    assert len(go(tmp_path / "store", model=made).levels) == 2


def renamed(module, state, *_):
    state["elsewhere"] = state.pop("1.weight")


def rescaled(module, state, *_):
    state["1.weight"] = state["1.weight"] / 2


def sharing():
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 16), nn.Linear(16, 16), nn.Linear(16, 3))
    model[2].weight = nn.Parameter(model[1].weight.data)
    return model


def halves(start):
    """Two layers in one tensor; the second's weight begins at that row of it."""
    rows = torch.rand(32, 16)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 16), nn.Linear(16, 16), nn.Linear(16, 3))
    model[1].weight, model[2].weight = nn.Parameter(rows[:16]), nn.Parameter(rows[start:start + 16])
    return model


def columns():
    both = torch.rand(16, 32)
    model = halves(16)
    model[1].weight, model[2].weight = nn.Parameter(both[:, ::2]), nn.Parameter(both[:, 1::2])
    return model


def with_state_hook(hook):
    model = network()
    model._register_state_dict_hook(hook)
    return model


def loading_otherwise():
    def doubled(module, _):
        module[1].weight.data.mul_(2)

    model = network()
    model.register_load_state_dict_post_hook(doubled)
    return model


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: with_state_hook(renamed), "does not give '1.weight' back as it is"),
        (lambda: with_state_hook(rescaled), "does not give '1.weight' back as it is"),
        (lambda: with_state_hook(lambda *_: 1 / 0), "cannot be saved and loaded: ZeroDivision"),
        (loading_otherwise, "does not give '1.weight' back as it is"),
        (sharing, "'2.weight' shares memory with '1.weight'"),
        (lambda: halves(15), "'2.weight' shares memory with '1.weight'"),
    ],
)
def test_states_that_are_not_the_network_are_refused(tmp_path, model, message):
    with pytest.raises(SddError, match=message) as refused:
        go(tmp_path / "store", model=model)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("model", [lambda: halves(16), columns])
def test_parameters_that_lie_beside_one_another_in_one_tensor_are_trained(tmp_path, model):
    assert len(go(tmp_path / "store", model=model()).levels) == 2


WEIGHT = nn.Parameter(torch.ones(3))


class Elsewhere(nn.Sequential):
    """Computes with a parameter that is none of its own."""

    def forward(self, images):
        return super().forward(images) * WEIGHT


class Differentiating(nn.Sequential):
    """Makes tensors of its own that require gradients, anew each time."""

    def forward(self, images):
        return super().forward(images.clone().requires_grad_())


def test_a_network_that_trains_what_is_not_its_own_is_refused(tmp_path):
    with pytest.raises(SddError, match=r"trainable tensor of shape \[3\] that is none of its par"):
        go(tmp_path / "store", model=lambda: Elsewhere(*network()))
    assert not (tmp_path / "store").exists()
    assert len(go(tmp_path / "store", model=lambda: Differentiating(*network())).levels) == 2

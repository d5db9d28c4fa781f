"""What hooks and replaced methods do to a network is trained, on whichever path."""

from __future__ import annotations

import random
from contextlib import contextmanager
from types import MethodType

import pytest
import torch
from sparse.residual import ResNet
from torch import nn
from torch.nn.modules import module as of_torch
from training_cases import (
    dataset,
    experiment,
    gap,
    perceptron,
    plain_steps,
    random_masks,
    resident,
    take_steps,
    trainer,
)

from sdd_core import SddError
from sdd_core.training.dense_trainer import DenseTrainer
from sdd_core.training.select import TrainerFactory


def small_perceptron() -> nn.Module:
    return perceptron(192, 20, 5)


def small_resnet() -> nn.Module:
    torch.manual_seed(0)
    return ResNet((8, 12), 1)


MAKERS = pytest.mark.parametrize("make", [small_perceptron, small_resnet])


def last(network: nn.Module) -> nn.Linear:
    return [part for part in network.modules() if isinstance(part, nn.Linear)][-1]


def halved_gradients(_, gradients, *rest):
    return tuple(None if g is None else g / 2 for g in gradients)


def replaced_forward(part: nn.Module) -> None:
    original = part.forward
    part.forward = lambda *inputs: original(*inputs) / 2


def method_forward(part: nn.Module) -> None:
    part.forward = MethodType(lambda self, x: type(self).forward(self, x) / 2, part)


def halved_in_place(parameter: torch.Tensor) -> None:
    parameter.grad.div_(2)


def halved_anew(parameter: torch.Tensor) -> None:
    parameter.grad = parameter.grad / 2


HOOKS = {
    "replaced forward": replaced_forward,
    "forward": lambda part: part.register_forward_hook(lambda m, i, out: out / 2),
    "forward, with keywords": lambda part: part.register_forward_hook(
        lambda m, i, k, out: out / 2, with_kwargs=True
    ),
    "forward-pre": lambda part: part.register_forward_pre_hook(lambda m, i: (i[0] / 2,)),
    "full backward": lambda part: part.register_full_backward_hook(halved_gradients),
    "full backward-pre": lambda part: part.register_full_backward_pre_hook(halved_gradients),
    "state": lambda part: part._register_state_dict_hook(lambda m, state, p, n: None),
    "state-pre": lambda part: part.register_state_dict_pre_hook(lambda m, p, k: None),
    "loading": lambda part: part.register_load_state_dict_pre_hook(lambda *a: None),
    "loaded": lambda part: part.register_load_state_dict_post_hook(lambda *a: None),
}

# Of one weight, which the network's own hooks do not reach.
PARAMETERS = {
    "gradient": lambda weight: weight.register_hook(lambda g: g / 2),
    "gradient in place": lambda weight: weight.register_post_accumulate_grad_hook(halved_in_place),
    "gradient anew": lambda weight: weight.register_post_accumulate_grad_hook(halved_anew),
}

CASES = [
    *((f"{name}, {where}", lambda net, add=add, of=of: add(of(net)))
      for name, add in HOOKS.items() for where, of in (("layer", last), ("network", lambda n: n))),
    *((name, lambda net, add=add: add(last(net).weight)) for name, add in PARAMETERS.items()),
    ("method forward", lambda net: method_forward(last(net))),
]  # fmt: skip


def assert_trains_as_with_torch(make, changes) -> None:
    ours, theirs, data = make(), make(), dataset()
    masks = random_masks(ours, 0.1)
    changes(ours)
    changes(theirs)
    one = trainer(ours, masks, data)
    assert isinstance(one, DenseTrainer)
    take_steps(one, data, 0, 6)
    plain_steps(theirs, masks, data, 6)
    assert gap(one.state(), theirs.state_dict()) < 1e-4
    unchanged = trainer(make(), masks, data)
    assert unchanged.kernels


@MAKERS
@pytest.mark.parametrize(("name", "changes"), CASES, ids=[name for name, _ in CASES])
def test_hooks_survive_and_the_kernels_leave_them_alone(make, name, changes):
    assert_trains_as_with_torch(make, changes)


@MAKERS
def test_a_hook_on_a_container_inside(make):
    def changes(network):
        parts = list(network.modules())
        inner = next((p for p in parts[1:] if isinstance(p, nn.Sequential | nn.ModuleList)), None)
        (inner or parts[1]).register_forward_hook(lambda m, i, out: out / 2)

    if make is small_perceptron:
        def make():
            return nn.Sequential(small_perceptron())
    assert_trains_as_with_torch(make, changes)


@contextmanager
def global_forward():
    handle = of_torch.register_module_forward_hook(
        lambda m, i, out: out / 2 if isinstance(m, nn.Linear) else None
    )
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def global_backward():
    handle = of_torch.register_module_full_backward_hook(lambda m, i, o: None)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def patched_class():
    original = nn.Linear.forward
    nn.Linear.forward = lambda self, x: original(self, x) / 2
    try:
        yield
    finally:
        nn.Linear.forward = original


@pytest.mark.parametrize(
    ("make", "outside"),
    [
        (small_perceptron, global_forward), (small_resnet, global_forward),
        (small_perceptron, patched_class), (small_resnet, patched_class),
        (small_perceptron, global_backward),  # torch has none where a block adds in place
    ],
)  # fmt: skip
def test_what_is_done_to_all_modules(make, outside):
    data, masks = dataset(), random_masks(make(), 0.1)
    with outside():
        one, theirs = trainer(make(), masks, data), make()
        assert isinstance(one, DenseTrainer)
        take_steps(one, data, 0, 4)
        plain_steps(theirs, masks, data, 4)
        assert gap(one.state(), theirs.state_dict()) < 1e-4
    assert trainer(make(), masks, data).kernels


class Called(nn.Sequential):
    def __call__(self, inputs):
        return super().__call__(inputs) / 2


class Clamping(nn.Sequential):
    """Changes its weights where a trace sees nothing of it."""

    def forward(self, inputs):
        for parameter in self.parameters():
            parameter.data.clamp_(-0.02, 0.02)
        return super().forward(inputs)


class Counting(nn.Sequential):
    calls = 0

    def forward(self, inputs):
        self.calls += 1
        outputs = super().forward(inputs)
        return outputs / 2 if self.calls > 2 else outputs


class Drawing(nn.Sequential):
    def forward(self, inputs):
        outputs = super().forward(inputs)
        return outputs / 2 if random.random() < 1e-9 else outputs


class Doubled(nn.Linear):
    def forward(self, inputs):
        return super().forward(inputs) * 2


class Odd(nn.Parameter):
    """A parameter of another kind."""


def with_last(layer) -> nn.Module:
    network = small_perceptron()
    network[-1] = layer
    return network


def with_plain_bias() -> nn.Module:
    layer = nn.Linear(20, 5)
    del layer.bias
    layer.bias = torch.ones(5)
    return with_last(layer)


def with_broadcast_bias() -> nn.Module:
    layer = nn.Linear(20, 5)
    layer.bias = nn.Parameter(torch.zeros(1))
    return with_last(layer)


def with_odd_weight() -> nn.Module:
    layer = nn.Linear(20, 5)
    layer.weight = Odd(torch.zeros(5, 20))
    return with_last(layer)


def normed() -> nn.Module:
    return with_last(nn.utils.parametrizations.weight_norm(nn.Linear(20, 5)))


@pytest.mark.parametrize(
    "make",
    [
        lambda: Called(*small_perceptron()), lambda: Clamping(*small_perceptron()),
        lambda: Counting(*small_perceptron()), lambda: Drawing(*small_perceptron()),
        lambda: with_last(Doubled(20, 5)), with_plain_bias, with_broadcast_bias, with_odd_weight,
        normed,
    ],
    ids=["call", "clamping", "counting", "drawing", "subclass", "no parameter", "broadcast",
         "odd", "parametrized"],
)  # fmt: skip
def test_what_a_trace_does_not_show(make):
    network = make()
    assert isinstance(trainer(network, random_masks(network, 0.1), dataset()), DenseTrainer)


@MAKERS
def test_a_hook_that_comes_after_the_first_network_was_read(make):
    data, network = dataset(), make()
    masks = random_masks(network, 0.1)
    one = trainer(network, masks, data)
    assert one.kernels
    trainers = TrainerFactory(make(), resident(data), experiment())
    last(network).register_forward_hook(lambda m, i, out: out / 2)
    assert isinstance(trainers.make(network, masks), DenseTrainer)


def test_a_hook_that_takes_the_gradient_away_is_refused_by_name():
    def drop(parameter):
        parameter.grad = None

    network = small_perceptron()
    network[1].weight.register_post_accumulate_grad_hook(drop)
    one = trainer(network, {}, dataset())
    with pytest.raises(SddError, match=r"removed the gradient of '1\.weight'"):
        take_steps(one, dataset(), 0, 1)

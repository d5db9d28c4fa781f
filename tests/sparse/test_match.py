"""Which torch models the sparse path takes, and the way there and back."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from sdd_core.sparse.match import match
from sdd_core.sparse.module import load, save
from sdd_core.sparse.network import SgdSettings

SHAPE = (1, 4, 5)
SETTINGS = SgdSettings(momentum=0.9, weight_decay=1e-4)


class Written(nn.Module):
    """A model with a forward method of its own."""

    def __init__(self, forward) -> None:
        super().__init__()
        self.one = nn.Linear(20, 6)
        self.two = nn.Linear(6, 3)
        self.function = forward

    def forward(self, x):
        return self.function(self, x)


def sequential(*extra: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(20, 6), nn.ReLU(), *extra, nn.Linear(6, 3))


@pytest.mark.parametrize(
    "forward",
    [
        lambda m, x: m.two(nn.functional.relu(m.one(torch.flatten(x, 1)))),
        lambda m, x: m.two(torch.relu(m.one(x.flatten(1)))),
        lambda m, x: m.two(m.one(x.flatten(start_dim=1)).relu()),
        lambda m, x: m.two(nn.functional.relu(m.one(x.view(x.size(0), -1)), inplace=True)),
        lambda m, x: m.two(nn.functional.relu(m.one(x.reshape(x.shape[0], 20)))),
        lambda m, x: m.two(nn.functional.relu(m.one(x.view((-1, 20))))),
        lambda m, x: m.two(nn.functional.relu(m.one(torch.reshape(x, (-1, 20))))),
    ],
)
def test_takes_a_chain_however_it_is_written(forward):
    model = Written(forward)
    found = match(model, SHAPE)
    assert found is not None
    assert found.parameters == ("one.weight", "one.bias", "two.weight", "two.bias")


@pytest.mark.parametrize(
    "forward",
    [
        lambda m, x: m.two(m.one(x.flatten(1))),  # no ReLU
        lambda m, x: nn.functional.relu(m.two(nn.functional.relu(m.one(x.flatten(1))))),
        lambda m, x: m.two(nn.functional.gelu(m.one(x.flatten(1)))),
        lambda m, x: m.two(nn.functional.relu(m.one(x.flatten(1)))) * 2,
        lambda m, x: m.two(nn.functional.relu(m.one(nn.functional.relu(x).flatten(1)))),
        lambda m, x: m.two(nn.functional.relu(m.one(x.flatten(2)))),
        lambda m, x: m.two(nn.functional.relu(m.one(x.view(-1, 10)))),
        lambda m, x: m.two(nn.functional.relu(m.one(x.view(20, -1)))),
        lambda m, x: m.two(nn.functional.relu(m.one(x))),  # no flatten
        lambda m, x: m.two(
            nn.functional.dropout(nn.functional.relu(m.one(x.flatten(1))), 0.5, m.training)
        ),
        lambda m, x: m.two(
            nn.functional.relu(
                m.one(nn.functional.dropout(x.flatten(1)) if m.training else x.flatten(1))
            )
        ),
        lambda m, x: m.two(nn.functional.relu(m.one(x.flatten(1))) + m.one(x.flatten(1))),
        lambda m, x: (m.two(nn.functional.relu(m.one(x.flatten(1)))), x),
        lambda m, x: m.two(nn.functional.relu(m.one(x.flatten(1)))) if x.sum() > 0 else x,
        lambda m, x: nn.functional.linear(
            nn.functional.relu(m.one(x.flatten(1))), m.two.weight, m.two.bias
        ),
        lambda m, x: nn.functional.relu(m.one(x.flatten(1))),  # a layer that is not used
        lambda m, x: m.two(nn.functional.relu(m.one(torch.flatten(input=x, start_dim=1)))),
        torch.no_grad()(lambda m, x: m.two(nn.functional.relu(m.one(x.flatten(1))))),
        lambda m, x: [m.two(nn.functional.relu(m.one(x.flatten(1)))), m.one(x.flatten(1))][0],
    ],
)
def test_refuses_anything_else(forward):
    assert match(Written(forward), SHAPE) is None


def frozen() -> nn.Module:
    model = sequential()
    model[1].bias.requires_grad_(False)
    return model


def hooked() -> nn.Module:
    model = sequential()
    model[1].register_forward_hook(lambda module, inputs, output: -output)
    return model


def parametrized() -> nn.Module:
    model = sequential()
    nn.utils.parametrizations.weight_norm(model[1])
    return model


def tied() -> nn.Module:
    model = nn.Sequential(nn.Flatten(), nn.Linear(20, 20), nn.ReLU(), nn.Linear(20, 20))
    model[3].weight = model[1].weight
    return model


def with_buffer() -> nn.Module:
    model = sequential()
    model.register_buffer("count", torch.zeros(1))
    return model


def with_parameter() -> nn.Module:
    model = sequential()
    model.register_parameter("scale", nn.Parameter(torch.ones(1)))
    return model


class Scaled(nn.Linear):
    def forward(self, input):
        return super().forward(input).mul(2)


@pytest.mark.parametrize(
    "model",
    [
        frozen(),
        hooked(),
        parametrized(),
        tied(),
        with_buffer(),
        with_parameter(),
        sequential(nn.Dropout(0.1)),
        sequential(nn.BatchNorm1d(6)),
        sequential(nn.ReLU()),
        nn.Sequential(nn.Flatten(), Scaled(20, 3)),
        nn.Sequential(nn.Flatten(0), nn.Linear(20, 3)),
        nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(12, 3)),
        nn.Sequential(nn.Flatten(), nn.Linear(30, 3)),
        sequential().bfloat16(),
        sequential().to("meta"),
        nn.Sequential(),
    ],
)
def test_refuses_what_it_does_not_train_exactly(model):
    assert match(model, SHAPE) is None


def test_images_that_are_flat_already_need_no_flatten():
    model = nn.Sequential(nn.Linear(20, 3))
    found = match(model, (20,))
    assert found is not None
    assert found.parameters == ("0.weight", "0.bias")
    assert match(model, SHAPE) is None


def test_leaves_the_modes_alone():
    model = sequential()
    model[1].eval()
    match(model, SHAPE)
    assert [part.training for part in model.modules()] == [True, True, False, True, True]


def test_module_to_network_and_back():
    torch.manual_seed(0)
    model = sequential()
    architecture = match(model, SHAPE)
    assert architecture is not None
    linears = [model[1], model[3]]
    mask = torch.rand(6, 20) < 0.5
    linears[0].weight.data *= mask
    masks = {linears[0].weight: mask}
    images = np.random.default_rng(0).standard_normal((64, 20)).astype(np.float32)
    labels = np.arange(64) % 3
    whole = load(architecture, model, masks, SETTINGS)
    whole.train_epoch(images, labels, np.arange(64), 32, [0.1, 0.1])

    before = linears[0].weight.detach().clone()
    part = load(architecture, model, masks, SETTINGS)
    part.train_epoch(images, labels, np.arange(32), 32, [0.1])
    assert torch.equal(linears[0].weight, before)  # the network has copies
    momenta = save(part, model)
    assert set(momenta) == set(model.parameters())
    rest = load(architecture, model, masks, SETTINGS, momenta=momenta, kernels=part.kernels)
    rest.train_epoch(images, labels, np.arange(32, 64), 32, [0.1])
    save(rest, model)
    for parameter, array in zip(model.parameters(), whole.state().parameters, strict=True):
        np.testing.assert_array_equal(parameter.detach().numpy(), array)
    with torch.inference_mode():
        logits = model(torch.from_numpy(images))
    result = rest.evaluate(images, labels)
    np.testing.assert_allclose(result.logits, logits.numpy(), atol=1e-5)

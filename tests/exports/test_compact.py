"""`compact` gives smaller networks with equal outputs, whatever the architecture and the zeros."""

from __future__ import annotations

import pickle
from collections.abc import Callable

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional

import sdd_core
from sdd_core import SddError
from sdd_plugins.models import sdd_models
from tests.exports.compacting import (
    compacted,
    inputs,
    prune,
    randomise,
    size,
    spread,
)

IMAGE = (3, 32, 32)


def built_in(name, **options):
    kinds = {kind.name: kind for kind in sdd_models()}
    return kinds[name](**options).build(IMAGE, 10)


class Own(nn.Module):
    """What people write: tied and frozen layers, functions, views, a layer used twice, squeeze and
    excitation, attention in one layer, an output read in two places."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding="same").requires_grad_(False)
        self.norm = nn.BatchNorm2d(16).requires_grad_(False)
        self.twice = nn.Conv2d(16, 16, 3, padding=1)
        self.tied = nn.Conv2d(16, 16, 3, padding=1)
        self.tied.weight = self.twice.weight
        self.squeeze, self.excite = nn.Conv2d(16, 6, 1), nn.Conv2d(6, 16, 1)
        self.down = nn.Conv2d(16, 24, 3, stride=2, groups=2, bias=False)
        self.slope = nn.PReLU(24)
        self.qkv, self.mix = nn.Linear(24, 3 * 12), nn.Linear(12, 24)
        self.scale = nn.Parameter(torch.rand(24))
        self.hidden, self.unused = nn.Linear(24 * 4, 20), nn.Linear(20, 3)
        self.output = nn.Linear(20, 5)

    def forward(self, x, extra=None):
        x = functional.dropout(self.norm(self.stem(x)), 0.5, training=self.training)
        x = functional.leaky_relu(x, inplace=True)
        x = x + self.tied(self.twice(self.twice(x)).relu_())
        gate = self.excite(functional.relu(self.squeeze(x.mean((2, 3), keepdim=True))))
        x = self.slope(self.down(x * gate.sigmoid()))
        x = functional.adaptive_max_pool2d(x, 2)
        n, c, h, w = x.shape
        tokens = x.view(n, c, h * w).permute(0, 2, 1)
        qkv = self.qkv(tokens).reshape(n, h * w, 3, 2, 6).permute(2, 0, 3, 1, 4)
        query, key, value = qkv.unbind(0)
        mixed = functional.scaled_dot_product_attention(query, key, value)
        tokens = tokens + self.scale * self.mix(mixed.transpose(1, 2).reshape(n, h * w, -1))
        x = self.hidden(torch.flatten(tokens, 1)).tanh()
        if extra is not None:
            x = x + extra
        self.unused(x)
        return self.output(x)


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "mlp": lambda: built_in("mlp"),
    "vgg11": lambda: built_in("vgg11", width=16),
    "vgg-without-norms": lambda: torchvision.models.vgg11(num_classes=5).features,
    "resnet20": lambda: built_in("resnet20"),
    "resnet20-A": lambda: built_in("resnet20", shortcut="A"),
    "vit": lambda: built_in("vit", depth=2, width=24, heads=4),
    "resnet18": lambda: torchvision.models.resnet18(num_classes=10),
    "mobilenet": lambda: torchvision.models.mobilenet_v3_small(num_classes=10),
    "shufflenet": lambda: torchvision.models.shufflenet_v2_x0_5(num_classes=10),
    "own": Own,
}
LARGE = ("vgg-without-norms", "resnet18", "mobilenet", "shufflenet")


def network_of(name, sparsity, *, rows):
    torch.manual_seed(0)
    return prune(randomise(NETWORKS[name]()), sparsity, rows=rows)


def marked(name):
    return pytest.param(name, marks=pytest.mark.slow) if name in LARGE else name


@pytest.mark.parametrize("rows", [False, True], ids=["weights", "rows"])
@pytest.mark.parametrize("sparsity", [0.5, 0.9, 0.98, 0.995])
@pytest.mark.parametrize("name", [marked(name) for name in NETWORKS])
def test_equal_outputs(name, sparsity, rows):
    network = network_of(name, sparsity, rows=rows)
    small = compacted(network, IMAGE)
    if rows:
        assert size(small) < (1 if name == "own" else 0.75) * size(network)


@pytest.mark.parametrize("rows", [False, True], ids=["weights", "rows"])
@pytest.mark.parametrize("name", ["mlp", "vgg11", "resnet20", "vit", "own"])
def test_these_comparisons_see_the_input(name, rows):
    """At half of the weights, outputs depend on the input by much more than rounding."""
    assert spread(network_of(name, 0.5, rows=rows), IMAGE) > 1e-4


@pytest.mark.parametrize("name", ["mlp", "resnet20", "vit", "own"])
def test_it_is_a_module_like_any_other(name, tmp_path):
    network = network_of(name, 0.7, rows=True)
    small = sdd_core.compact(network, inputs(2, IMAGE).float())
    images = inputs(3, IMAGE).float()
    with torch.no_grad():
        expected = small(images)
    torch.testing.assert_close(expected, network.eval()(images).detach(), rtol=1e-4, atol=1e-4)
    again = pickle.loads(pickle.dumps(small))
    again.load_state_dict(small.state_dict())
    torch.save(small.state_dict(), tmp_path / "weights.pt")
    small.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    with torch.no_grad():
        assert torch.equal(again(images), expected)
        assert torch.equal(small(images), expected)
    again.train()(images).sum().backward()
    assert type(small).__name__ == type(network).__name__


@pytest.mark.parametrize("name", ["vgg11", "resnet20-A", "vit", "own"])
def test_nothing_more_can_be_removed_afterwards(name):
    small = compacted(network_of(name, 0.8, rows=True), IMAGE)
    assert size(compacted(small, IMAGE)) == size(small)


def test_a_part_that_cannot_be_traced_stays():
    class Strange(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(8, 8)

        def forward(self, x):
            return self.layer(x) if x.sum() > 0 else self.layer(-x)

    torch.manual_seed(0)
    network = randomise(
        nn.Sequential(nn.Linear(4, 9), nn.ReLU(), nn.Linear(9, 8), Strange(), nn.Linear(8, 2))
    )
    with torch.no_grad():
        network[0].weight[[1, 4]] = 0
        network[2].weight[3] = 0
    small = compacted(network, (4,))
    assert small.get_parameter("0.weight").shape == (7, 4)
    assert small.get_parameter("2.weight").shape == (8, 7)


def test_layers_with_hooks_or_parametrizations_stay():
    torch.manual_seed(0)
    network = randomise(nn.Sequential(*(nn.Linear(4, 4) for _ in range(4))))
    with torch.no_grad():
        for layer in network:
            layer.weight[1] = 0
    network[1].register_forward_hook(lambda *about: about[-1] + 1)
    torch.nn.utils.parametrizations.spectral_norm(network[2])
    small = compacted(network, (4,))
    assert small.get_parameter("0.weight").shape == (4, 4)
    assert small.get_parameter("1.weight").shape == (4, 4)
    assert small.get_submodule("2").weight.shape == (4, 4)


def test_a_forward_method_that_cannot_be_traced_is_named():
    class Branches(nn.Module):
        def forward(self, x):
            return x if x.sum() > 0 else -x

    with pytest.raises(SddError, match=r"forward method of Branches .*test_compact.py, line \d+"):
        sdd_core.compact(Branches(), torch.zeros(1, 2))


def test_an_example_that_does_not_fit_is_named():
    with pytest.raises(SddError, match=r"operation .* fails for the example .*; give an example"):
        sdd_core.compact(nn.Sequential(nn.Linear(4, 2)), torch.zeros(1, 3))


def test_random_outputs_are_named():
    class Noisy(nn.Module):
        def forward(self, x):
            return functional.dropout(x, 0.5)

    with pytest.raises(SddError, match="does not give the same outputs"):
        sdd_core.compact(Noisy(), torch.ones(1, 99))


def test_a_tensor_that_is_changed_in_place_is_read_as_it_became():
    class InPlace(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Linear(4, 6), nn.Linear(6, 3)

        def forward(self, x):
            y = self.one(x)
            z = y
            y += 1
            y.relu_()
            y *= 2
            return self.two(z)

    torch.manual_seed(0)
    network = randomise(InPlace())
    with torch.no_grad():
        network.one.weight[2] = 0
    assert compacted(network, (4,)).get_parameter("two.weight").shape == (3, 5)


def test_a_network_that_converts_numbers_itself():
    class Bytes(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Linear(4, 6), nn.Linear(6, 3)

        def forward(self, x):
            x = self.one(x.to(torch.float32) / 255).relu()
            return self.two(x.float() + torch.zeros(6))

    torch.manual_seed(0)
    network = randomise(Bytes()).eval()
    with torch.no_grad():
        network.one.weight[2] = 0
    images = torch.randint(256, (2, 4), dtype=torch.uint8)
    small = sdd_core.compact(network, images)
    assert small.get_parameter("two.weight").shape == (3, 5)
    torch.testing.assert_close(small(images), network(images))

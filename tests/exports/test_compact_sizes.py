"""What `compact` removes from small networks made by hand, exactly."""

import pytest
import torch
from torch import nn
from torch.nn import functional

import sdd_core
from sdd_plugins.models import sdd_models
from tests.exports.compacting import compacted, inputs, randomise


def set_zero(tensor, index):
    with torch.no_grad():
        tensor[index] = 0


def shapes(network):
    return {name: tuple(tensor.shape) for name, tensor in network.named_parameters()}


def sequential(*layers):
    torch.manual_seed(0)
    return randomise(nn.Sequential(*layers))


def test_a_unit_without_inputs_goes_into_the_next_bias():
    network = sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))
    set_zero(network[0].weight, 2)
    set_zero(network[0].weight, 3)
    with torch.no_grad():
        network[0].bias.copy_(torch.tensor([1.0, -1, 2, -3, 1]))
    small = compacted(network, (4,))
    assert shapes(small) == {
        "0.weight": (3, 4), "0.bias": (3,), "2.weight": (3, 3), "2.bias": (3,),
    }  # fmt: skip
    expected = network[2].bias + 2 * network[2].weight[:, 2]  # relu(-3) contributes nothing
    assert torch.allclose(small.get_parameter("2.bias").float(), expected)


def test_a_constant_makes_a_bias_where_there_was_none():
    network = sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3, bias=False))
    set_zero(network[0].weight, 1)
    small = compacted(network, (4,))
    assert shapes(small) == {
        "0.weight": (4, 4), "0.bias": (4,), "2.weight": (3, 4), "2.bias": (3,),
    }  # fmt: skip


def test_a_unit_that_nobody_reads_goes_and_those_before_it():
    network = sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 2))
    set_zero(network[4].weight, (slice(None), [0, 5]))
    set_zero(network[2].weight, (slice(1, 5), 3))  # read by units 0 and 5 alone, which go
    assert shapes(compacted(network, (4,)))["2.weight"] == (4, 4)


@pytest.mark.parametrize("form", ["module", "function", "in place", "sum"])
def test_a_constant_goes_through_operations(form):
    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Linear(4, 6), nn.Linear(6, 2)
            self.norm = nn.BatchNorm1d(6)

        def forward(self, x):
            y = self.norm(self.one(x))
            if form == "function":
                y = functional.hardswish(y) * 2 - 1
            elif form == "in place":
                y = functional.relu(y, inplace=True)
                y += 1
            elif form == "sum":
                y = torch.sigmoid(y) + y.clamp(min=0) / 3
            return self.two(y)

    torch.manual_seed(0)
    network = randomise(Network())
    set_zero(network.one.weight, [0, 4])
    small = compacted(network, (4,))
    assert shapes(small) == {
        "one.weight": (4, 4), "one.bias": (4,), "two.weight": (2, 4), "two.bias": (2,),
        "norm.weight": (4,), "norm.bias": (4,),
    }  # fmt: skip
    assert small.get_buffer("norm.running_var").shape == (4,)


def test_a_norm_of_scale_zero_makes_a_constant():
    network = sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 3))
    set_zero(network[1].weight, [0, 2])
    assert shapes(compacted(network, (3, 6, 6)))["0.weight"] == (2, 3, 1, 1)


def convolutions(padding, constants, mode="zeros"):
    """Two convolutions, with constants in the first channels between them."""
    network = sequential(
        nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 4, 3, padding=padding, padding_mode=mode)
    )
    for channel, constant in enumerate(constants):
        set_zero(network[0].weight, channel)
        with torch.no_grad():
            network[0].bias[channel] = constant
    return network


@pytest.mark.parametrize(
    ("padding", "constants", "mode", "left"),
    [
        (0, [2.0], "zeros", 5),  # nothing is in the way
        ("valid", [2.0], "zeros", 5),
        (1, [-2.0, 0.0], "zeros", 4),  # relu(-2) = 0 contributes nothing at the border either
        (1, [2.0], "zeros", 6),  # it contributes less at the border, and stays
        ("same", [2.0], "zeros", 6),
        (1, [2.0, 0.5, 3.0], "zeros", 4),  # one of them stands for all
        (1, [1e-9, 3.0], "zeros", 5),  # and not the one that a number could not stand for
        (1, [2.0], "reflect", 5),  # a padding that repeats the constant
        (1, [2.0], "circular", 5),
    ],
)
def test_constants_and_the_padding_of_a_convolution(padding, constants, mode, left):
    small = compacted(convolutions(padding, constants, mode), (3, 8, 8))
    assert shapes(small)["0.weight"] == (left, 3, 3, 3)
    assert shapes(small)["2.weight"] == (4, left, 3, 3)


def test_what_a_constant_gives_behind_a_border_is_not_one():
    """A convolution of constants with padding differs at the border, which flattening shows."""
    network = sequential(
        nn.Conv2d(2, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1), nn.Flatten(),
        nn.Linear(3 * 16, 4),
    )  # fmt: skip
    set_zero(network[0].weight, slice(None))
    compacted(network, (2, 4, 4))


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.branches = nn.ModuleList(nn.Conv2d(6, 6, 3, padding=1, bias=False) for _ in range(2))
        self.norms = nn.ModuleList(nn.BatchNorm2d(6) for _ in range(2))
        self.last = nn.Linear(6, 2)

    def forward(self, x):
        x = self.stem(x).relu()
        for branch, norm in zip(self.branches, self.norms, strict=True):
            x = norm(branch(x)).relu() + x
        return self.last(functional.adaptive_avg_pool2d(x, 1).flatten(1))


def test_a_residual_channel_goes_only_if_all_branches_are_without_it():
    torch.manual_seed(0)
    network = randomise(Residual())
    for layer in (network.stem, *network.branches):
        set_zero(layer.weight, 1)
    with torch.no_grad():
        for constants in (network.stem.bias, *(norm.bias for norm in network.norms)):
            constants[1] = -9.0  # 0 behind ReLU, whatever the border
        for norm in network.norms:
            norm.running_mean[1] = 0
    set_zero(network.branches[0].weight, 2)  # this one is in the stem
    small = compacted(network, (3, 6, 6))
    assert shapes(small)["stem.weight"] == (5, 3, 3, 3)
    assert shapes(small)["branches.0.weight"] == (5, 5, 3, 3)
    assert shapes(small)["last.weight"] == (2, 5)


def test_groups_go_as_a_whole():
    network = sequential(
        nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Conv2d(8, 12, 3, groups=4), nn.ReLU(),
        nn.Conv2d(12, 2, 1),
    )  # fmt: skip
    set_zero(network[4].weight, (slice(None), slice(3, 6)))  # nobody reads the second group
    set_zero(network[4].weight, (slice(None), 0))  # nor one channel of the first
    small = compacted(network, (3, 5, 5))
    assert shapes(small)["2.weight"] == (9, 2, 3, 3)
    assert shapes(small)["0.weight"] == (6, 3, 1, 1)
    assert small.get_submodule("2").groups == 3


def test_depthwise_channels_go_with_those_before_and_behind():
    network = sequential(
        nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=8, padding=1), nn.ReLU6(),
        nn.Conv2d(8, 2, 1),
    )  # fmt: skip
    set_zero(network[2].weight, [0, 3])  # the results are constants, the biases
    set_zero(network[4].weight, (slice(None), 5))
    small = compacted(network, (3, 5, 5))
    assert shapes(small)["2.weight"] == (5, 1, 3, 3)
    assert shapes(small)["0.weight"] == (5, 3, 1, 1)


def test_flattened_channels_go_with_all_their_pixels():
    network = sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(4 * 9, 7),
    )  # fmt: skip
    set_zero(network[0].weight, 1)
    set_zero(network[5].weight, (slice(None), slice(27, 36)))
    small = compacted(network, (3, 8, 8))
    assert shapes(small)["0.weight"] == (2, 3, 3, 3)
    assert shapes(small)["5.weight"] == (7, 18)


def test_concatenated_channels():
    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1)
            self.last = nn.Conv2d(8, 2, 3)

        def forward(self, x):
            return self.last(torch.cat([self.one(x), self.two(x).relu()], dim=1))

    torch.manual_seed(0)
    network = randomise(Network())
    set_zero(network.one.weight, [0, 1])
    set_zero(network.last.weight, (slice(None), 7))
    small = compacted(network, (3, 5, 5))
    assert (len(small.one.weight), len(small.two.weight)) == (2, 3)
    assert shapes(small)["last.weight"] == (2, 5, 3, 3)


def vit(**options):
    kinds = {kind.name: kind for kind in sdd_models()}
    torch.manual_seed(0)
    model = kinds["vit"](depth=1, width=12, heads=3, mlp_ratio=2, **options)
    return randomise(model.build((3, 8, 8), 5))


@pytest.mark.parametrize("end", ["output", "value"])
def test_a_head_goes_if_nobody_reads_it_or_its_values_are_constants(end):
    network = vit()
    attention = network.blocks[0].attention
    if end == "output":
        set_zero(attention.output.weight, (slice(None), slice(4, 8)))
    else:
        set_zero(attention.value.weight, slice(4, 8))
    set_zero(network.blocks[0].mlp.output.weight, (slice(None), slice(0, 5)))
    small = shapes(compacted(network, (3, 8, 8)))
    for name in ("query", "key", "value"):
        assert small[f"blocks.0.attention.{name}.weight"] == (8, 12)
    assert small["blocks.0.attention.output.weight"] == (12, 8)
    assert small["blocks.0.mlp.hidden.weight"] == (19, 12)
    assert small["norm.weight"] == (12,)


def test_half_a_head_stays():
    network = vit()
    set_zero(network.blocks[0].attention.output.weight, (slice(None), slice(4, 7)))
    small = shapes(compacted(network, (3, 8, 8)))
    assert small["blocks.0.attention.query.weight"] == (12, 12)


def test_features_of_a_layer_normalisation_stay():
    network = sequential(nn.Linear(4, 6), nn.LayerNorm(6), nn.Linear(6, 3))
    set_zero(network[0].weight, 2)
    set_zero(network[2].weight, (slice(None), 3))
    assert shapes(compacted(network, (4,)))["0.weight"] == (6, 4)


def test_a_size_that_is_computed_with_stays_what_it_was():
    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Conv2d(3, 6, 1), nn.Linear(6 * 4, 3)

        def forward(self, x):
            y = self.one(x)
            n, channels, height, width = y.shape
            return self.two(y.view(n, channels * height * width) / channels + y.size(1))

    torch.manual_seed(0)
    network = randomise(Network())
    set_zero(network.one.weight, [1, 2])
    assert shapes(compacted(network, (3, 2, 2)))["two.weight"] == (3, 16)


def test_a_network_that_ignores_its_input_keeps_one_unit_of_each_layer():
    network = sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 2))
    set_zero(network[0].weight, slice(None))
    small = compacted(network, (4,))
    assert [tuple(small.get_submodule(name).weight.shape) for name in "024"] == [
        (1, 4), (1, 1), (2, 1),
    ]  # fmt: skip


def test_the_number_type_and_the_frozen_stay():
    network = sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3, bias=False))
    set_zero(network[0].weight, 1)
    with torch.no_grad():
        network[0].bias[1] = 1
    network[0].weight.requires_grad_(False)
    small = sdd_core.compact(network, inputs(2, (4,)).float())
    assert {tensor.dtype for tensor in small.parameters()} == {torch.float32}
    trained = {name: tensor.requires_grad for name, tensor in small.named_parameters()}
    assert trained == {"0.weight": False, "0.bias": True, "2.weight": True, "2.bias": True}


class Forms(nn.Module):
    """Six features in another form, which `between` makes."""

    def __init__(self, between, features=6):
        super().__init__()
        self.one, self.two = nn.Linear(4, 6), nn.Linear(features, 3)
        self.between = between

    def forward(self, x):
        return self.two(self.between(self.one(x)))


@pytest.mark.parametrize(
    ("gone", "left"),
    [([1], 6), ([1, 4], 4), ([3, 4, 5], 3), ([0, 4], 6), ([1, 3, 4, 5], 2)],
)
@pytest.mark.parametrize(
    "between",
    [
        lambda x: x.view(-1, 2, 3).transpose(1, 2).flatten(1),
        lambda x: x.reshape(x.shape[0], 2, 3).permute(0, 2, 1).reshape(-1, 6),
        lambda x: torch.reshape(x, shape=(-1, 2, 3)).swapaxes(1, 2).flatten(start_dim=1),
        lambda x: x.unflatten(1, (2, -1)).transpose(1, 2).flatten(1),
        lambda x: torch.unflatten(x, dim=1, sizes=(2, 3)).transpose(1, 2).flatten(1),
    ],
)
def test_what_is_removed_leaves_no_holes(between, gone, left):
    """Features 0 1 2 / 3 4 5: only whole rows and columns can go."""
    torch.manual_seed(0)
    network = randomise(Forms(between))
    set_zero(network.one.weight, gone)
    assert shapes(compacted(network, (4,)))["one.weight"] == (left, 4)


@pytest.mark.parametrize(
    ("between", "features"),
    [
        (lambda x: x[:, 1:4], 3),
        (lambda x: x[..., 1:] * x[:, 0].unsqueeze(1), 5),
        (lambda x: torch.cat(x.chunk(2, 1)[::-1], 1), 6),
        (lambda x: x.split([4, 2], dim=-1)[0], 4),
        (lambda x: torch.stack(x.unbind(1)[2:], 1), 4),
        (lambda x: x.narrow(1, 2, 3), 3),
        (lambda x: x.softmax(1), 6),
        (lambda x: functional.log_softmax(x, dim=-1), 6),
        (lambda x: x - x.mean(1, keepdim=True), 6),
        (lambda x: x / x.norm(dim=1, keepdim=True), 6),
        (lambda x: x.cumsum(1), 6),
        (lambda x: x.flip(1), 6),
        (lambda x: x * torch.arange(x.size(-1)), 6),
        (lambda x: x + torch.zeros(x.shape) + x.new_ones(6), 6),
        (lambda x: functional.normalize(x, dim=1), 6),
        (lambda x: torch.where(x > 0, x, x.exp()), 6),
        (lambda x: x.view(x.size()).squeeze().view(-1, 6), 6),
        (lambda x: torch.einsum("ij,jk->ik", x, torch.ones(6, 6).to(x)), 6),
    ],
)
def test_features_stay_where_they_are_read_by_number_or_together(between, features):
    torch.manual_seed(0)
    network = randomise(Forms(between, features))
    set_zero(network.one.weight, [1, 4])
    assert shapes(compacted(network, (4,)))["one.weight"] == (6, 4)


@pytest.mark.parametrize(
    "padded",
    [
        lambda x: functional.pad(x, (1, 1, 1, 1, 1, 2)),
        lambda x: functional.pad(input=x, pad=[1, 1, 1, 1, 1, 2], value=0.5),
        lambda x: functional.pad(functional.pad(x, (0, 0, 0, 0, 1, 2)), (1, 1, 1, 1), "reflect"),
    ],
)
def test_channels_that_padding_adds(padded):
    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Conv2d(3, 4, 1), nn.Conv2d(7, 2, 3)

        def forward(self, x):
            return self.two(padded(self.one(x)) + 1)

    torch.manual_seed(0)
    network = randomise(Network())
    set_zero(network.one.weight, [0, 2])
    set_zero(network.two.weight, (slice(None), 6))
    compacted(network, (3, 5, 5))


def test_a_tiny_constant_does_not_stand_for_a_large_one():
    """The weight would have to be 1e42 times as large, which float32 cannot hold."""
    torch.manual_seed(0)
    network = randomise(Residual()).eval()
    for layer in (network.stem, network.branches[1]):
        set_zero(layer.weight, [0, 1])
    set_zero(network.branches[0].weight, 1)  # channel 0 is alive behind the first branch
    with torch.no_grad():
        network.stem.bias[:2] = torch.tensor([1e-42, 3])
        for norm in network.norms:
            norm.bias[1], norm.running_mean[1] = -9, 0
    images = inputs(2, (3, 6, 6)).float()
    with torch.no_grad():
        found = sdd_core.compact(network, images)(images)
        torch.testing.assert_close(found, network(images), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("in_place", [False, True])
def test_a_branch_without_weights_becomes_its_constants(in_place):
    class Network(Residual):
        def forward(self, x):
            x = self.stem(x).relu()
            for branch, norm in zip(self.branches, self.norms, strict=True):
                y = norm(branch(x))
                if in_place:
                    y += x
                else:
                    y = torch.add(x, y)
                x = y.relu_()
            return self.last(x.mean((2, 3)))

    torch.manual_seed(0)
    network = randomise(Network())
    set_zero(network.branches[0].weight, slice(None))
    small = compacted(network, (3, 6, 6))
    assert "branches.0.weight" not in shapes(small)
    assert "norms.0.weight" not in shapes(small)
    assert shapes(small)["branches.1.weight"] == (6, 6, 3, 3)
    constants = [buffer for name, buffer in small.named_buffers() if "constant" in name]
    assert [constant.shape for constant in constants] == [(1, 6, 1, 1)]


@pytest.mark.parametrize("size_of", [lambda x: x.shape[0], lambda x: 2 * x.size(0) + 1])
def test_what_is_multiplied_by_the_size_of_the_batch_is_no_constant(size_of):
    torch.manual_seed(0)
    network = randomise(Forms(lambda x: x.sigmoid() * size_of(x)))
    set_zero(network.one.weight, 2)
    assert shapes(compacted(network, (4,)))["one.weight"] == (6, 4)


def test_the_constants_of_a_branch_are_those_of_the_channels_that_stay():
    torch.manual_seed(0)
    network = randomise(Residual())
    set_zero(network.branches[0].weight, slice(None))
    set_zero(network.last.weight, (slice(None), [1, 4]))
    set_zero(network.branches[1].weight, (slice(None), [1, 4]))
    small = compacted(network, (3, 6, 6))
    assert shapes(small)["stem.weight"] == (4, 3, 3, 3)
    assert "branches.0.weight" not in shapes(small)


def test_a_map_for_all_channels_belongs_to_none_of_them():
    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Conv2d(3, 5, 1), nn.Conv2d(5, 2, 1)
            self.map = nn.Conv2d(3, 1, 1)

        def forward(self, x):
            return self.two(self.one(x) * self.map(x).sigmoid())

    torch.manual_seed(0)
    network = randomise(Network())
    set_zero(network.two.weight, (slice(None), 0))
    small = shapes(compacted(network, (3, 5, 5)))
    assert (small["one.weight"][0], small["map.weight"][0]) == (4, 1)


def test_values_of_attention_of_which_one_is_a_constant_are_not_all_it():
    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.two = nn.Parameter(torch.ones(1, 2, 1, 4)), nn.Linear(2 * 3 * 4, 3)
            self.one = nn.Linear(4, 8)

        def forward(self, x):
            x = self.one(x).unflatten(2, (2, 4)).transpose(1, 2)
            values = torch.cat([self.first.expand(x.shape[0], -1, -1, -1), x[:, :, 1:]], 2)
            return self.two(functional.scaled_dot_product_attention(x, x, values).flatten(1))

    torch.manual_seed(0)
    compacted(randomise(Network()), (3, 4))

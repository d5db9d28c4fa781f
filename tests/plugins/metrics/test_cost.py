"""The price of a level, computed by hand."""

from __future__ import annotations

import gzip
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support import go, plugins_with, small
from torch import nn
from torch.nn.utils import parametrizations
from torch.utils.flop_counter import FlopCounterMode

import sdd_core
from sdd_core import testing
from sdd_core.level.masks import prunable_weights
from sdd_core.runs.level_files import write_level
from sdd_plugins.metrics.cost import Cost
from sdd_plugins.metrics.macs import count_macs

from ..conftest import dataset


def images(*shape: int):
    """Two random examples."""
    draw = torch.Generator().manual_seed(0)
    return dataset(torch.randn(2, *shape, generator=draw), [0, 1])


def half(network: nn.Module) -> dict[str, torch.Tensor]:
    """Masks that keep every second weight, in a network whose other weights are zero."""
    masks = {}
    with torch.no_grad():
        for name, weight in prunable_weights(network).items():
            masks[name] = (torch.arange(weight.numel()) % 2 == 0).view(weight.shape)
            weight.mul_(masks[name])
    return masks


def measured(make_view, network, data, masks=None, **options):
    return Cost(**options).measure(make_view(network.eval(), data, masks=masks))


def test_a_perceptron(make_view):
    network = nn.Sequential(nn.Flatten(), nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 2))
    masks = {"1.weight": torch.zeros(4, 6, dtype=torch.bool),
             "3.weight": torch.ones(2, 4, dtype=torch.bool)}
    masks["1.weight"][:2, :3] = True  # 6 of 24
    with torch.no_grad():
        network[1].weight.mul_(masks["1.weight"])
    found = measured(make_view, network, images(1, 2, 3), masks)
    zipped = found.pop("zipped_bytes")
    assert found == {
        "dense_macs": 24 + 8, "kept_macs": 6 + 8,
        "parameters": 24 + 4 + 8 + 2, "kept_parameters": 6 + 4 + 8 + 2,
        "dense_bytes": 4 * 38,
        "packed_bytes": 4 * 20 + 3 + 1,  # 24 bits and 8 bits
    }
    assert 0 < zipped < 152


@pytest.mark.parametrize(("layer", "shape", "dense"), [
    # outputs x output positions x inputs of a group x kernel
    (nn.Conv2d(4, 6, 3), (4, 8, 8), 6 * 6 * 6 * 4 * 9),
    (nn.Conv2d(4, 6, 3, stride=2, padding=1), (4, 8, 8), 6 * 4 * 4 * 4 * 9),
    (nn.Conv2d(4, 6, 3, dilation=2), (4, 8, 8), 6 * 4 * 4 * 4 * 9),
    (nn.Conv2d(4, 6, (3, 1), groups=2), (4, 8, 8), 6 * 6 * 8 * 2 * 3),
    (nn.Conv2d(4, 4, 3, groups=4, padding="same"), (4, 8, 8), 4 * 8 * 8 * 9),
    (nn.Conv1d(3, 5, 4, stride=3), (3, 10), 5 * 3 * 3 * 4),
    # inputs x input positions x outputs of a group x kernel
    (nn.ConvTranspose2d(4, 6, 3, stride=2, groups=2), (4, 5, 5), 4 * 5 * 5 * 3 * 9),
])  # fmt: skip
def test_convolutions(make_view, layer, shape, dense):
    found = measured(make_view, nn.Sequential(layer), images(*shape), half(nn.Sequential(layer)))
    assert found["dense_macs"] == dense
    assert found["kept_macs"] == dense / 2


def test_every_weight_counts_as_often_as_it_is_used(make_view):
    network = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.Flatten(), nn.Linear(9, 1))
    masks = {"2.weight": torch.tensor([[True, False, False] * 3])}
    with torch.no_grad():
        network[2].weight.mul_(masks["2.weight"])
    found = measured(make_view, network, images(1, 3, 3), masks)
    # One weight at nine positions, three weights at one.
    assert found["kept_macs"] == 9 + 3


class Recurrent(nn.Module):
    def __init__(self, layer: type[nn.RNNBase]) -> None:
        super().__init__()
        self.layer = layer(5, 7, batch_first=True)

    def forward(self, sequence):
        return self.layer(sequence)[0][:, -1]


@pytest.mark.parametrize(("layer", "gates"), [(nn.RNN, 1), (nn.GRU, 3), (nn.LSTM, 4)])
def test_recurrent_layers_count_every_step(make_view, layer, gates):
    network = Recurrent(layer)
    found = measured(make_view, network, images(4, 5), half(network))
    assert found["dense_macs"] == 4 * gates * 7 * (5 + 7)
    # 35 or 49 weights a gate; of an odd number one more is kept than pruned.
    kept = math.ceil(gates * 35 / 2) + math.ceil(gates * 49 / 2)
    assert found["kept_macs"] == 4 * kept


class Attention(nn.Module):
    """Two tokens' attention over both, by torch's own layer or its fused function."""

    def __init__(self, fused: bool) -> None:
        super().__init__()
        self.fused = fused
        # With biases and without gradients, torch computes the layer in one operation.
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, tokens):
        if not self.fused:
            return self.attention(tokens, tokens, tokens, need_weights=False)[0]
        query, key, value = (tokens @ self.attention.in_proj_weight.T).chunk(3, -1)
        found = nn.functional.scaled_dot_product_attention(query, key, value)
        return self.attention.out_proj(found)


@pytest.mark.parametrize("fused", [True, False])
def test_attention_projections_count_by_their_weights_and_its_products_whole(make_view, fused):
    network = Attention(fused)
    found = measured(make_view, network, images(3, 8), half(network))
    projections, products = 3 * 4 * 64, 2 * 3 * 3 * 8
    assert found["dense_macs"] == projections + products
    assert found["kept_macs"] == projections // 2 + products


def test_resnet_20_and_the_vision_transformer(make_view):
    plugins = sdd_core.load_plugins()
    resnet = plugins.make("model", "resnet20").build((3, 32, 32), 10)
    stem, classifier = 3 * 16 * 9 * 32**2, 64 * 10
    stages = 6 * 16 * 16 * 9 * 32**2
    for channels, side in ((32, 16), (64, 8)):  # 3x3 from half as many channels, and 1x1 beside it
        stages += channels * channels // 2 * (9 + 1) * side**2 + 5 * channels**2 * 9 * side**2
    found = measured(make_view, resnet, images(3, 32, 32))
    assert found["dense_macs"] == found["kept_macs"] == stem + stages + classifier == 40_813_184

    vit = plugins.make("model", {"name": "vit", "depth": 2, "width": 12, "heads": 3, "patch": 8})
    network = vit.build((3, 32, 32), 10)
    masks, tokens = half(network), 17
    weights = 16 * 3 * 64 * 12 + 2 * tokens * (4 * 12 * 12 + 2 * 12 * 48) + 12 * 10
    products = 2 * 2 * tokens * tokens * 12
    found = measured(make_view, network, images(3, 32, 32), masks)
    assert found["dense_macs"] == weights + products
    assert found["kept_macs"] == weights / 2 + products


class Tied(nn.Module):
    """One matrix embeds words and gives their logits."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(10, 4)
        self.output = nn.Linear(4, 10, bias=False)
        self.output.weight = self.words.weight
        self.hidden = nn.Linear(4, 4, bias=False)

    def forward(self, text):
        return self.output(self.hidden(self.words(text.long()).mean(1)))


def test_shared_weights_count_once_and_looking_up_is_free(make_view):
    network = Tied()
    data = dataset(torch.randint(10, (2, 3), dtype=torch.uint8), [0, 1])
    found = measured(make_view, network, data, half(network))
    assert found["parameters"] == 56
    assert found["dense_bytes"] == 4 * 56
    assert found["dense_macs"] == 40 + 16
    assert found["kept_macs"] == 40 + 8


@pytest.mark.parametrize("norm", [parametrizations.weight_norm, parametrizations.spectral_norm,
                                  torch.nn.utils.spectral_norm])
def test_weights_that_are_computed_from_pruned_ones(make_view, norm):
    network = nn.Sequential(norm(nn.Linear(4, 3)))
    found = measured(make_view, network, images(4), half(network))
    assert (found["dense_macs"], found["kept_macs"]) == (12, 6)


class Products(nn.Module):
    """Products of all kinds: with a vector of weights, bilinear, and of weights alone."""

    def __init__(self) -> None:
        super().__init__()
        self.vector = nn.Parameter(torch.ones(4))
        self.bilinear = nn.Bilinear(4, 4, 3)
        self.left, self.right = (nn.Parameter(torch.ones(n, m)) for n, m in ((3, 2), (2, 2)))

    def forward(self, inputs):
        inputs = inputs * (inputs @ self.vector)[:, None]
        return self.bilinear(inputs, inputs) @ (self.left @ self.right)


def test_products_of_vectors_of_two_inputs_and_of_weights_alone(make_view):
    network = Products()
    masks = half(network)
    found = measured(make_view, network, images(4), {"bilinear.weight": masks["bilinear.weight"]})
    assert found["dense_macs"] == 4 + 3 * 4 * 4 + 3 * 2
    assert found["kept_macs"] == 4 + 24 + 6


def test_a_kept_weight_that_is_zero_is_kept(make_view):
    network = nn.Sequential(nn.Linear(4, 3))
    nn.init.zeros_(network[0].weight)
    found = measured(make_view, network, images(4))
    assert (found["kept_macs"], found["kept_parameters"], found["packed_bytes"]) == (
        12, 15, 60 + 2)


def test_a_pruned_weight_that_is_not_zero_saves_nothing(make_view):
    """As in re-dense training, or held by a schedule at another value."""
    network = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    masks = half(network)
    with torch.no_grad():
        network[0].weight[0, 1] = 0.5  # one of the six pruned ones
    found = measured(make_view, network, images(4), masks)
    assert found["kept_macs"] == 6 + 1 + 3
    assert found["kept_parameters"] == 6 + 1 + 3 + 5
    # The store keeps this layer whole, and the other packed.
    assert found["packed_bytes"] == 4 * (12 + 3 + 5) + 2 + 1


def test_packed_bytes_are_those_of_the_files_without_their_headers(make_view, tmp_path):
    network = nn.Sequential(nn.Conv2d(3, 20, 3), nn.BatchNorm2d(20), nn.Flatten(),
                            nn.Linear(20, 50))
    view = make_view(network.eval(), images(3, 3, 3), masks=half(network))
    write_level(tmp_path, "0" * 40, view._level)
    files = [tmp_path / f"{name}.safetensors" for name in ("weights", "masks")]
    headers = [8 + int.from_bytes(file.read_bytes()[:8], "little") for file in files]
    assert Cost().measure(view)["packed_bytes"] == sum(
        file.stat().st_size - header for file, header in zip(files, headers, strict=True))


def test_zipped_bytes_are_about_those_of_a_gzip_file(make_view):
    network = nn.Sequential(nn.Linear(400, 100))
    mask = torch.rand(100, 400, generator=torch.Generator().manual_seed(0)) < 0.05
    with torch.no_grad():
        network[0].weight.mul_(mask)
    found = measured(make_view, network, images(400), {"0.weight": mask})
    content = b"".join(one.detach().numpy().tobytes() for one in network.state_dict().values())
    assert found["zipped_bytes"] == pytest.approx(len(gzip.compress(content, 6)), rel=0.02)
    assert found["zipped_bytes"] < found["dense_bytes"] / 4
    assert measured(make_view, network, images(400), zip_up_to=0.1)["zipped_bytes"] is None


SIZES = st.integers(1, 5)


@settings(max_examples=30, deadline=None)
@given(SIZES, SIZES, SIZES, st.integers(1, 2), st.integers(0, 2), st.booleans())
def test_a_dense_network_costs_what_torchs_counter_says(a, b, c, stride, padding, bias):
    network = nn.Sequential(
        nn.Conv2d(2 * a, 2 * b, 3, stride, padding, groups=2, bias=bias), nn.ReLU(),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(8 * b, c, bias=bias),
    )
    inputs = torch.randn(2, 2 * a, 7, 6)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(inputs)
    found = count_macs(network.eval(), inputs)
    assert found.dense == counter.get_total_flops() / 2 / 2


def test_it_leaves_torch_as_it_was():
    def state():
        return (torch.backends.mkldnn.enabled, torch.backends.cudnn.enabled,
                torch.backends.mha.get_fastpath_enabled(),
                torch.backends.cuda.flash_sdp_enabled(), torch.is_grad_enabled())

    before = state()
    count_macs(nn.Linear(2, 2), torch.zeros(2, 2))
    with pytest.raises(RuntimeError):
        count_macs(nn.Linear(2, 2), torch.zeros(2, 3))
    assert state() == before


def test_it_keeps_the_contract():
    testing.check(Cost)


def test_it_is_measured_by_default_and_later_in_runs_of_before(tmp_path, monkeypatch):
    """A store of before has levels without cost; resuming measures it and trains nothing."""
    everything = plugins_with()
    before = [one for one in everything.default_metrics() if one.name != "cost"]
    with monkeypatch.context() as patch:
        patch.setattr(type(everything), "default_metrics", lambda self: tuple(before))
        old = go(small(), tmp_path)
    assert old.levels[1].cost == {}
    files = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("weights.safetensors")}
    new = go(small(), tmp_path)
    assert {file: file.stat().st_mtime_ns for file in tmp_path.rglob("weights.safetensors")} == (
        files)
    assert new.folder == old.folder
    for level, was in zip(new.levels, old.levels, strict=True):
        assert level.metrics.items() >= was.metrics.items()
        assert level.cost.items() <= level.metrics.items()
        assert len(level.cost) == 7
        assert level.cost["kept_macs"] == round(level.density * 64 * 16) + 16 * 10

"""Sparse convolutional networks against the dense-masked reference, and against themselves."""

from __future__ import annotations

import contextlib
import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from sdd_core.errors import SddError
from sdd_core.sparse.architecture import Architecture
from sdd_core.sparse.match import match
from sdd_core.sparse.module import load, save
from sdd_core.sparse.network import SgdSettings

from .residual import ResNet, masks_of, train

SETTINGS = SgdSettings(momentum=0.9, weight_decay=1e-2)


def data(examples: int, size: int = 16) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    images = torch.randn(examples, 3, size, size, generator=random, dtype=torch.float64)
    return images, torch.randint(5, (examples,), generator=random)


def architecture_of(model: nn.Module, size: int = 16) -> Architecture:
    architecture = match(model, (3, size, size))
    assert architecture is not None
    return architecture


def make(widths: tuple[int, ...] = (6, 8, 12), blocks: int = 2, seed: int = 0) -> ResNet:
    torch.manual_seed(seed)
    model = ResNet(widths, blocks).double()
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.normal_(part.weight)
            nn.init.normal_(part.bias)
    return model


def compare(model, masks, *, examples, batch_size, passes, tolerance, size=16) -> None:
    """Train both ways; parameters, momenta and statistics must agree."""
    images, labels = data(examples, size)
    ours = copy.deepcopy(model)
    twins = dict(zip(model.parameters(), ours.parameters(), strict=True))
    kept = {twins[p]: mask for p, mask in masks.items()}
    network = load(architecture_of(ours, size), ours, kept, SETTINGS)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, **SETTINGS._asdict())
    steps = -(-examples // batch_size)
    for _ in range(passes):
        expected = train(model, masks, optimizer, images, labels, batch_size=batch_size)
        loss = network.train_epoch(
            images.numpy(), labels.numpy(), np.arange(examples), batch_size, [0.02] * steps
        )
        assert loss == pytest.approx(expected, abs=tolerance)
    momenta = save(network, ours)
    for parameter, twin in twins.items():
        torch.testing.assert_close(twin, parameter, rtol=tolerance, atol=tolerance)
        buffer = optimizer.state[parameter]["momentum_buffer"]
        torch.testing.assert_close(momenta[twin], buffer, rtol=tolerance, atol=tolerance)
        if parameter in masks:
            assert not twin[~masks[parameter]].any()
    for ours_buffer, buffer in zip(ours.buffers(), model.buffers(), strict=True):
        torch.testing.assert_close(ours_buffer, buffer, rtol=tolerance, atol=tolerance)
    model.eval()
    with torch.inference_mode():
        logits = model(images)
    result = network.evaluate(images.numpy(), labels.numpy())
    np.testing.assert_allclose(result.logits, logits.numpy(), rtol=tolerance, atol=tolerance)
    assert result.accuracy == (logits.argmax(1) == labels).double().mean().item()


@pytest.mark.parametrize("density", [1.0, 0.3, 0.05, 0.01, 0.0])
@pytest.mark.parametrize("passes", [1, 10])
def test_follows_the_reference(density, passes):
    model = make()
    masks = masks_of(model, density, 0)
    compare(model, masks, examples=37 + 20, batch_size=37, passes=passes, tolerance=1e-8)


@pytest.mark.parametrize("tile", [32, 64, 128])
def test_every_tile_follows_the_reference(tile, monkeypatch):
    monkeypatch.setattr("sdd_core.sparse.residual.tile_width", lambda: tile)
    model = make()
    masks = masks_of(model, 0.3, 0)
    compare(model, masks, examples=37 + 20, batch_size=37, passes=3, tolerance=1e-8)


def test_follows_the_reference_for_200_steps():
    model = make((4, 6), 1)
    masks = masks_of(model, 0.3, 0)
    compare(model, masks, examples=24, batch_size=12, passes=100, tolerance=1e-6, size=8)


def test_channels_without_inputs_or_outputs():
    model = make()
    masks = masks_of(model, 0.4, 0)
    for convolution, channel in ((model.conv, 1), (model.blocks[0].conv1, 2)):
        masks[convolution.weight][channel] = False
    for convolution in (model.blocks[0].conv2, model.blocks[1].conv1, model.blocks[2].conv1):
        masks[convolution.weight][:, :3] = False
    masks[model.blocks[2].shortcut[0].weight][:, :3] = False
    for parameter, mask in masks.items():
        parameter.data *= mask
    compare(model, masks, examples=40, batch_size=20, passes=5, tolerance=1e-8)


@settings(max_examples=8)
@given(
    widths=st.lists(st.integers(1, 9), min_size=1, max_size=2).map(tuple),
    blocks=st.integers(1, 2),
    density=st.sampled_from([0.02, 0.1, 0.5]),
    examples=st.integers(2, 40),
    size=st.sampled_from([8, 24]),
    seed=st.integers(0, 100),
)
def test_any_width_and_mask(*, widths, blocks, density, examples, size, seed):
    model = make(widths, blocks, seed)
    masks = masks_of(model, density, seed)
    compare(
        model, masks, examples=examples, batch_size=examples, passes=2, tolerance=1e-7, size=size
    )


class Crossing(nn.Module):
    """Sums that hand on gradients which convolutions still read; a map read with both strides."""

    def __init__(self) -> None:
        super().__init__()

        def part(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
            convolution = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
            return nn.Sequential(convolution, nn.BatchNorm2d(outputs))

        self.a, self.b, self.c, self.d = part(3, 6), part(6, 6), part(6, 6), part(6, 6)
        self.e, self.f, self.g = part(6, 9, 2), part(6, 9, 2), part(6, 6)
        self.h, self.i = part(6, 9, 2), part(9, 9)
        self.linear = nn.Linear(9, 5)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        a = self.a(images).relu()
        a = (self.b(a) + a).relu()  # the convolution reads what the sum takes
        c, d = self.c(a), self.d(a).relu()  # a second one, after that which the sum needs
        c = (c + a).relu()
        last = (self.e(c) + self.f(d)).relu()
        last = (self.h(self.g(d).relu()) + self.i(last)).relu()
        return self.linear(last.mean((2, 3)))


@pytest.mark.parametrize("density", [0.6, 0.1, 0.03])
def test_gradients_that_are_handed_on_while_others_need_them(density):
    torch.manual_seed(1)
    model = Crossing().double()
    masks = masks_of(model, density, 1)
    compare(model, masks, examples=40, batch_size=20, passes=5, tolerance=1e-8)


def test_threads_and_splits_change_no_bit():
    model = make().float()
    masks = masks_of(model, 0.2, 0)
    images, labels = data(100)
    arrays = images.float().numpy(), labels.numpy()
    order, rates = np.random.default_rng(0).permutation(100), [0.05] * 5
    results = []
    for threads in (1, 2, 1):
        network = load(architecture_of(model), model, masks, SETTINGS, threads=threads)
        network.train_epoch(*arrays, order, 20, rates)
        results.append(network.state().parameters)

    resumed = copy.deepcopy(model)
    twins = dict(zip(model.parameters(), resumed.parameters(), strict=True))
    kept = {twins[p]: mask for p, mask in masks.items()}
    architecture = architecture_of(resumed)
    part = load(architecture, resumed, kept, SETTINGS)
    part.train_epoch(*arrays, order[:40], 20, rates[:2])
    momenta = save(part, resumed)
    rest = load(architecture, resumed, kept, SETTINGS, momenta=momenta)
    rest.train_epoch(*arrays, order[40:], 20, rates[2:])
    results.append(rest.state().parameters)
    for other in results[1:]:
        for one, two in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(one, two)


def test_evaluations_between_steps_change_no_bit():
    images, labels = data(100)
    arrays = images.float().numpy(), labels.numpy()
    results = []
    for evaluated in (False, True):
        model = make().float()
        masks = masks_of(model, 0.2, 0)
        network = load(architecture_of(model), model, masks, SETTINGS, threads=2)
        for start in range(0, 100, 20):
            # The last image alone, which leaves a group mostly empty, and all of them.
            for few in (slice(99, 100), slice(None)) if evaluated else ():
                network.evaluate(arrays[0][few], arrays[1][few])
            network.train_epoch(*arrays, np.arange(start, start + 20), 20, [0.05])
        results.append((network.state().parameters, network.evaluate(*arrays).logits))
    for one, two in zip(*(parameters for parameters, _ in results), strict=True):
        np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(results[0][1], results[1][1])


class Changed(ResNet):
    def __init__(self, change) -> None:
        super().__init__()
        change(self)


def replace(name: str, part: nn.Module):
    return lambda model: setattr(model, name, part)


@pytest.mark.parametrize(
    "change",
    [
        replace("conv", nn.Conv2d(3, 6, 3, 1, 1)),  # bias
        replace("conv", nn.Conv2d(3, 6, 5, 1, 2, bias=False)),
        replace("conv", nn.Conv2d(3, 6, 3, 1, 1, groups=3, bias=False)),
        replace("conv", nn.Conv2d(3, 6, 3, 1, 1, bias=False, padding_mode="reflect")),
        replace("conv", nn.Conv2d(3, 6, 3, 1, 2, dilation=2, bias=False)),
        replace("bn", nn.GroupNorm(2, 6)),
        replace("bn", nn.Identity()),
        replace("bn", nn.BatchNorm2d(6, momentum=None)),
        replace("bn", nn.BatchNorm2d(6, affine=False)),
        replace("bn", nn.BatchNorm2d(6, track_running_stats=False)),
        replace("linear", nn.Linear(12, 5, bias=False)),
        replace("linear", nn.Sequential(nn.Dropout(0.1), nn.Linear(12, 5))),
        replace("blocks", nn.Sequential(nn.Conv2d(6, 12, 3, 1, 1, bias=False), nn.ReLU())),
        lambda model: model.bn.weight.requires_grad_(False),
        lambda model: model.register_buffer("count", torch.zeros(1)),
        lambda model: replace("conv2", model.blocks[1].conv1)(model.blocks[1]),
        lambda model: model.conv.register_forward_hook(lambda module, inputs, output: -output),
    ],
)
def test_refuses_what_it_does_not_train_exactly(change):
    assert match(ResNet(), (3, 16, 16)) is not None
    assert match(Changed(change), (3, 16, 16)) is None


class HeldNorm(ResNet):
    """Its first normalisation keeps the statistics that it has."""

    def train(self, mode: bool = True) -> HeldNorm:
        super().train(mode)
        self.bn.eval()
        return self


class Partly(ResNet):
    """A ResNet whose first layers do not train, or in another number type."""

    def __init__(self, context) -> None:
        super().__init__()
        self.context = context

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with self.context():
            y = functional.relu(self.bn(self.conv(x)))
        return self.linear(functional.adaptive_avg_pool2d(self.blocks(y), 1).flatten(1))


class Pooled(ResNet):
    def __init__(self, pool: nn.Module) -> None:
        super().__init__()
        self.pool = pool

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.blocks(functional.relu(self.bn(self.conv(x))))
        return self.linear(torch.flatten(self.pool(y), start_dim=1))


class ByKeyword(ResNet):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.blocks(functional.relu(input=self.bn(self.conv(x))))
        return self.linear(torch.flatten(input=functional.adaptive_avg_pool2d(y, 1), start_dim=1))


@pytest.mark.parametrize(
    ("model", "taken"),
    [
        (HeldNorm(), False),
        (Partly(contextlib.nullcontext), True),
        (Partly(torch.no_grad), False),
        (Partly(lambda: torch.autocast("cpu")), False),
        (Pooled(nn.AvgPool2d(4)), True),
        (Pooled(nn.AvgPool2d(4, divisor_override=1)), False),
        (ByKeyword(), False),
    ],
)
def test_what_the_model_does_itself_counts(model, taken):
    assert (match(model, (3, 16, 16)) is not None) == taken
    with torch.no_grad():  # where it is asked does not
        assert (match(model, (3, 16, 16)) is not None) == taken


@pytest.mark.parametrize("shape", [(3, 18, 18), (3, 16, 32), (768,), (1, 16, 16), (3, 8, 8)])
def test_refuses_images_that_do_not_fit(shape):
    model = ResNet() if shape != (3, 8, 8) else ResNet((4, 4, 4))
    assert match(model, shape) is None


def test_refuses_threads_that_it_has_no_work_for():
    model = ResNet((4,), 1)
    with pytest.raises(SddError, match="1 or 2 threads, got 3"):
        load(architecture_of(model), model, {}, SETTINGS, threads=3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": np.zeros((20, 3, 16, 8), np.float32)}, "768 numbers each"),
        ({"images": np.zeros((20, 3, 16, 16))}, "float64"),
        ({"labels": np.full(20, 5)}, "classes 0 to 4"),
        ({"order": np.array([0, 20])}, "order"),
        ({"learning_rates": []}, "learning rate"),
    ],
)
def test_data_that_does_not_fit(change, message):
    model = ResNet((4,), 1)
    network = load(architecture_of(model), model, {}, SETTINGS)
    arguments = {
        "images": np.zeros((20, 3, 16, 16), np.float32),
        "labels": np.zeros(20, np.int64),
        "order": np.arange(20),
        "batch_size": 20,
        "learning_rates": [0.1],
    }
    with pytest.raises(SddError, match=message):
        network.train_epoch(**{**arguments, **change})

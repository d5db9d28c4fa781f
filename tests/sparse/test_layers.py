"""Linear layers and convolutions on their kept weights, against torch in float64."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from sdd_core.sparse.costs import KernelCosts
from sdd_core.sparse.layers import layer as layer_module
from sdd_core.sparse.layers.replacement import MaskedLayers

FREE = KernelCosts(masked_weight=0.0, masked_number=0.0, masked_call=0.0)


def masks_of(network: nn.Module, density: float, seed: int = 0) -> dict[str, Tensor]:
    """A mask for each weight, applied to it."""
    draw, masks = torch.Generator().manual_seed(seed), {}
    for name, weight in network.named_parameters():
        if weight.dim() > 1:
            masks[name] = torch.rand(weight.shape, generator=draw) < density
            weight.data.mul_(masks[name])
    return masks


def sparse(network: nn.Module, masks: dict[str, Tensor], **options) -> MaskedLayers:
    return MaskedLayers(network, masks, FREE, **options)


def gradients(network: nn.Module, inputs: Tensor, towards: Tensor) -> list[Tensor]:
    """The results, and the gradients of the inputs and of all parameters."""
    inputs = inputs.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    network.zero_grad()
    results = network(inputs)
    results.backward(towards.to(results.dtype))
    grads = [inputs.grad, *(p.grad for p in network.parameters())]
    return [t.detach().clone() for t in (results, *grads) if t is not None]


def check(network: nn.Module, inputs: Tensor, density: float) -> None:
    """The layer gives torch's results and gradients, and none for pruned weights."""
    masks = masks_of(network, density)
    layers, exact = sparse(network, masks), copy.deepcopy(network).double()
    towards = torch.randn_like(network(inputs))
    with layers.in_use():
        ours = gradients(network, inputs, towards)
    assert layers.kernels == (("=sparse",) if not masks["weight"].all() else ())
    theirs = gradients(exact, inputs.double(), towards)
    theirs[2] = theirs[2] * masks["weight"]
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        scale = max(1.0, float(other.abs().max()))
        assert torch.allclose(one.double() / scale, other / scale, atol=2e-5, rtol=0)
    assert (ours[2][~masks["weight"]] == 0).all()
    # `view` may depend on the format; that of a single channel or pixel may be taken for either.
    assert ours[0].is_contiguous() or not network(inputs).is_contiguous()
    if not inputs.is_contiguous():
        assert ours[0].is_contiguous(memory_format=torch.channels_last)


densities = st.sampled_from([0.0, 0.03, 0.4, 0.9])


@settings(max_examples=40, deadline=None)
@given(
    leading=st.lists(st.integers(1, 6), max_size=3), inputs=st.integers(16, 70),
    outputs=st.integers(16, 70), bias=st.booleans(), density=densities,
)
def test_linear_layers_of_any_shape(leading, inputs, outputs, bias, density):
    torch.manual_seed(0)
    check(nn.Linear(inputs, outputs, bias), torch.randn(*leading, inputs), density)


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_convolutions_of_any_shape(data):
    pair = lambda *numbers: st.tuples(st.sampled_from(numbers), st.sampled_from(numbers))  # noqa: E731
    groups = data.draw(st.sampled_from([1, 1, 2, 4]))
    inputs, outputs = (groups * data.draw(st.sampled_from([1, 3, 8])) for _ in range(2))
    kernel, stride, dilation = (data.draw(pair(*numbers)) for numbers in
                                ((1, 2, 3, 5), (1, 2, 3), (1, 2)))
    padding = data.draw(st.one_of(pair(0, 1, 2), st.sampled_from(["same", "valid"])))
    assume(padding != "same" or stride == (1, 1))
    size = data.draw(pair(4, 7, 8, 16, 19))
    torch.manual_seed(0)
    layer = nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation, groups,
                      bias=data.draw(st.booleans()))
    images = torch.randn(data.draw(st.sampled_from([1, 16, 37])), inputs, *size)
    try:
        across = layer(images).shape[3]
    except RuntimeError:  # the kernel is larger than the map
        assume(False)
    assume(size[1] * inputs >= 16 and across * outputs >= 16)
    if data.draw(st.booleans()):
        images = images.to(memory_format=torch.channels_last)
    if data.draw(st.booleans()):
        layer = layer.to(memory_format=torch.channels_last)
    check(layer, images, data.draw(densities))


@pytest.mark.parametrize("tiled", [(16, 40, 40, 70), (16, 64, 33, 12)])
def test_maps_that_take_several_tiles(tiled):
    """More than the second level of a cache holds: rows of a tile lie where others lay."""
    examples, channels, height, width = tiled
    torch.manual_seed(0)
    for stride in (1, 2):
        check(nn.Conv2d(channels, channels, 3, stride, 1), torch.randn(examples, channels, height,
                                                                     width), 0.2)


def test_the_number_of_threads_changes_no_bit(monkeypatch):
    monkeypatch.setattr(layer_module, "WORTH_SHARING", 0)
    torch.manual_seed(0)
    # Six groups of 16 images and a part of one.
    layer, images = nn.Conv2d(8, 16, 3, padding=1), torch.randn(100, 8, 8, 8)
    layers, before, found = sparse(layer, masks_of(layer, 0.3)), torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            with layers.in_use():
                found.append(gradients(layer, images, torch.ones(100, 16, 8, 8))[:3])
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        assert all(map(torch.equal, found[0], other))


def test_images_need_no_gradient():
    layer = nn.Conv2d(8, 16, 3)
    masks = masks_of(layer, 0.3)
    images = torch.randn(20, 8, 6, 6)
    with sparse(layer, masks).in_use():
        layer(images).square().sum().backward()
    ours = layer.weight.grad.clone()
    layer.zero_grad()
    layer(images).square().sum().backward()
    assert torch.allclose(ours, layer.weight.grad * masks["weight"], rtol=1e-4, atol=1e-4)


class Twice(nn.Module):
    """One layer in two places, and a gradient within forward."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(20, 20)

    def forward(self, inputs: Tensor) -> Tensor:
        with torch.enable_grad():
            inputs = inputs.requires_grad_()
            energy = self.layer(self.layer(inputs).tanh()).square().sum()
            (slope,) = torch.autograd.grad(energy, inputs, create_graph=True)
            torch.autograd.grad(self.layer(inputs).sum(), inputs)
        return slope


def test_a_layer_used_twice_under_a_second_derivative():
    torch.manual_seed(0)
    network = Twice()
    masks, inputs, towards = masks_of(network, 0.3), torch.randn(9, 20), torch.randn(9, 20)
    network.train()
    layers = sparse(network, masks)
    with layers.in_use():
        ours = gradients(network, inputs, towards)
    assert layers.kernels == ("layer=sparse",)
    for one, other in zip(ours, gradients(network, inputs, towards), strict=True):
        mask = masks["layer.weight"] if one.shape == (20, 20) else 1
        assert torch.allclose(one * mask, other * mask, atol=1e-4)


def _hooked() -> nn.Module:
    layer = nn.Linear(20, 20)
    layer.register_forward_hook(lambda module, inputs, output: output * 2)
    return layer


def _replaced() -> nn.Module:
    layer = nn.Linear(20, 20)
    layer.forward = lambda inputs: inputs * 3
    return layer


def _tied() -> nn.Module:
    one, other = nn.Linear(20, 20), nn.Linear(20, 20)
    other.weight = one.weight
    return nn.Sequential(one, other)


class Own(nn.Linear):
    def forward(self, inputs: Tensor) -> Tensor:
        return super().forward(inputs) + 1


@pytest.mark.parametrize("make", [
    _hooked, _replaced, _tied, lambda: Own(20, 20),
    lambda: parametrizations.weight_norm(nn.Linear(20, 20)),
    lambda: nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular"),
    lambda: nn.Linear(20, 20).double(),
    lambda: nn.Linear(20, 20).requires_grad_(False),
])
def test_other_layers_stay_dense_and_right(make):
    network = make()
    masks = {name: torch.rand(weight.shape) < 0.3 for name, weight in network.named_parameters()
             if weight.dim() > 1}
    layers = sparse(network, masks)
    dtype = next(network.parameters()).dtype
    inputs = torch.randn(5, 4, 20, 20, dtype=dtype)
    expected, before = network(inputs), {id(m): dict(vars(m)) for m in network.modules()}
    with layers.in_use():
        assert {id(m): dict(vars(m)) for m in network.modules()} == before
        assert torch.equal(network(inputs), expected)
    assert layers.kernels == ()


def all_one(layer: nn.Module) -> dict[str, Tensor]:
    """Other weights than the layer's, also where it is pruned."""
    return {name: torch.ones_like(weight) for name, weight in layer.named_parameters()}


def set_to_one(layer: nn.Module) -> nn.Module:
    layer.load_state_dict(all_one(layer))
    return layer


@pytest.mark.parametrize("call", [
    lambda layer, inputs: torch.func.vmap(layer)(inputs),
    lambda layer, inputs: torch.func.jvp(layer, (inputs,), (inputs,))[1],
    lambda layer, inputs: layer(inputs[0, 0]),
    lambda layer, inputs: layer(inputs[:0]),
    lambda layer, inputs: torch.jit.trace(layer, inputs)(inputs),
    lambda layer, inputs: torch.func.functional_call(layer, all_one(layer), (inputs,)),
    lambda layer, inputs: set_to_one(copy.deepcopy(layer))(inputs),
    lambda layer, inputs: set_to_one(pickle.loads(pickle.dumps(layer)))(inputs),
])
def test_calls_that_the_kernels_do_not_know_are_dense(call):
    layer = nn.Linear(20, 20)
    layers, inputs = sparse(layer, masks_of(layer, 0.3)), torch.randn(7, 3, 20)
    with layers.in_use():
        layer(inputs)
        assert layers.kernels == ("=sparse",)
        found = call(layer, inputs)
    assert torch.allclose(found, call(layer, inputs), atol=1e-5)


def test_autocast_is_left_to_torch():
    layer = nn.Linear(20, 20)
    with sparse(layer, masks_of(layer, 0.3)).in_use(), torch.autocast("cpu", torch.bfloat16):
        assert layer(torch.randn(7, 20)).dtype == torch.bfloat16


def test_inputs_by_keyword():
    layer, inputs = nn.Linear(20, 20), torch.randn(7, 20)
    layers = sparse(layer, masks_of(layer, 0.3))
    with layers.in_use():
        assert torch.allclose(layer(input=inputs), layer(inputs))
    assert layers.kernels == ("=sparse",)


@pytest.mark.parametrize(("layer", "shape"), [
    (nn.Linear(20, 24), (7, 20)),
    (nn.Linear(20, 24), (7, 3, 20)),
    (nn.Conv2d(8, 16, 3), (9, 8, 8, 8)),
    (nn.Conv2d(8, 16, 3).to(memory_format=torch.channels_last), (9, 8, 8, 8)),
    (nn.Conv2d(8, 16, 8), (9, 8, 8, 8)),
])
def test_results_may_be_changed_in_place(layer, shape):
    """By `nn.ReLU(inplace=True)`, for example."""
    network = nn.Sequential(layer, nn.ReLU(inplace=True))
    masks, inputs = masks_of(network, 0.3), torch.randn(shape)
    layers, towards = sparse(network, masks), torch.randn_like(network(inputs))
    with layers.in_use():
        ours = gradients(network, inputs, towards)
    assert layers.kernels == ("0=sparse",)
    theirs = gradients(network, inputs, towards)
    theirs[2] *= masks["0.weight"]
    for one, other in zip(ours, theirs, strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("batched", [
    lambda results, inputs, towards: torch.autograd.grad(
        results, inputs, towards, retain_graph=True, is_grads_batched=True),
    lambda results, inputs, towards: torch.vmap(
        lambda one: torch.autograd.grad(results, inputs, one, retain_graph=True))(towards),
])
def test_batches_of_gradients(batched):
    network = nn.Sequential(nn.Linear(20, 20), nn.Tanh(), nn.Conv2d(4, 4, 3))
    masks_of(network, 0.3)
    inputs, towards = torch.randn(6, 4, 9, 20, requires_grad=True), torch.randn(3, 6, 4, 7, 18)
    layers = sparse(network, masks_of(network, 0.3))
    with layers.in_use():
        results = network(inputs)
        (found,) = batched(results, inputs, towards)
    assert layers.kernels == ("0=sparse", "2=sparse")
    for one, gradient in zip(found, towards, strict=True):
        (exact,) = torch.autograd.grad(network(inputs), inputs, gradient)
        assert torch.allclose(one, exact, atol=1e-4)


def test_nothing_is_left_in_the_network_after_an_error():
    network = nn.Sequential(nn.Linear(20, 20), nn.Linear(20, 20))
    before = [dict(vars(module)) for module in network.modules()]
    layers = sparse(network, masks_of(network, 0.3))
    with layers.in_use():
        network(torch.randn(3, 20))
    with pytest.raises(RuntimeError, match="shapes"), layers.in_use():
        network(torch.randn(3, 19))
    assert [dict(vars(module)) for module in network.modules()] == before
    assert layers.kernels == ("0=sparse", "1=sparse")


def test_other_masks():
    layer = nn.Linear(20, 30)
    layers, inputs = sparse(layer, masks_of(layer, 0.3)), torch.randn(7, 20)
    with layers.in_use():
        layer(inputs)
    with torch.no_grad():
        layer.weight.normal_()
    masks = masks_of(layer, 0.5, seed=1)
    layers.remask(masks)
    with layers.in_use():
        ours = gradients(layer, inputs, torch.ones(7, 30))
    theirs = gradients(layer, inputs, torch.ones(7, 30))
    assert torch.allclose(ours[0], theirs[0], atol=1e-5)
    assert torch.allclose(ours[2], theirs[2] * masks["weight"], atol=1e-5)


def test_costs_decide_in_training_and_a_checkpoint_before_them():
    network, inputs = nn.Sequential(nn.Linear(300, 300), nn.Linear(300, 300)), torch.randn(128, 300)
    masks = masks_of(network, 0.05)
    masks["1.weight"] = torch.rand(300, 300) < 0.95
    layers = MaskedLayers(network, masks, KernelCosts())
    with layers.in_use():
        network.eval()
        network(inputs)
        assert layers.kernels == ("0=undecided", "1=undecided")
        network.train()
        network(inputs)
    assert layers.kernels == ("0=sparse", "1=dense")
    layers = MaskedLayers(network, masks, KernelCosts(), ("0=dense", "1=sparse"))
    with layers.in_use():
        network(inputs)
    assert layers.kernels == ("0=dense", "1=sparse")

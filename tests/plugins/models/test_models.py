"""Shapes, numbers of parameters (counted by formula) and initial weights of the networks."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from sdd_core import SddError
from sdd_core.level.masks import exempt_weights, prunable_weights
from sdd_plugins.models.mlp import Mlp
from sdd_plugins.models.resnet import (
    PaddedShortcut,
    ResNet18,
    ResNet20,
    ResNet32,
    ResNet56,
    TinyImageNetResNet101,
)
from sdd_plugins.models.vgg import Vgg11, Vgg13, Vgg16, Vgg19

CIFAR = (3, 32, 32)
# Small versions of every model, to be built and run in no time.
SMALL = [
    Mlp(),
    Mlp(widths=()),
    ResNet18(width=4),
    ResNet20(width=4),
    ResNet20(width=4, shortcut="A"),
    ResNet32(width=2),
    ResNet56(width=2),
    TinyImageNetResNet101(width=1),
    Vgg11(width=2),
    Vgg13(width=2),
    Vgg16(width=2),
    Vgg19(width=2),
]


def label(model) -> str:
    return model.name


def count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def on_paper(model, shape=CIFAR, classes: int = 10) -> nn.Module:
    """The network without memory for its weights."""
    with torch.device("meta"):
        return model.build(shape, classes)


@pytest.mark.parametrize("model", SMALL, ids=label)
@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 28, 20), (3, 64, 64)])
def test_one_number_for_each_class_whatever_the_images(model, shape):
    network = model.build(shape, 7).eval()
    with torch.no_grad():
        assert network(torch.rand(2, *shape)).shape == (2, 7)


@pytest.mark.parametrize("model", SMALL, ids=label)
def test_the_same_seed_gives_the_same_weights_and_another_others(model):
    def weights(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return torch.cat([p.flatten() for p in model.build(CIFAR, 10).parameters()])

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


@pytest.mark.parametrize("model", SMALL, ids=label)
def test_exempt_layers_are_there_and_others_are_left_to_prune(model):
    names = prunable_weights(model.build(CIFAR, 10))
    exempt = exempt_weights(names, model.exempt())
    last = list(names)[-1]
    assert exempt == ({last} if model.exempt() else set())


def test_mlps_and_vggs_exempt_their_last_layer_and_resnets_nothing():
    assert Mlp().exempt() == ("output",)
    assert Mlp(widths=()).exempt() == ()
    assert Vgg16().exempt() == ("fc",)
    assert ResNet18().exempt() == ResNet20().exempt() == TinyImageNetResNet101().exempt() == ()


def test_lenet_300_100_has_as_many_parameters_as_published():
    network = on_paper(Mlp(), (1, 28, 28))
    assert count(network) == 784 * 300 + 300 + 300 * 100 + 100 + 100 * 10 + 10 == 266_610
    assert list(prunable_weights(network)) == ["hidden1.weight", "hidden2.weight", "output.weight"]


def basic_resnet(blocks: int, width: int, stages: int, classes: int = 10, option: str = "B") -> int:
    """Parameters of a residual network of basic blocks, by formula."""
    total = 27 * width + 2 * width
    inputs = width
    for stage in range(stages):
        outputs = width * 2**stage
        for _ in range(blocks):
            total += 9 * inputs * outputs + 9 * outputs * outputs + 4 * outputs
            if inputs != outputs and option == "B":
                total += inputs * outputs + 2 * outputs
            inputs = outputs
    return total + inputs * classes + classes


@pytest.mark.parametrize(
    ("model", "parameters", "formula"),
    [
        (ResNet18(), 11_173_962, basic_resnet(2, 64, 4)),
        (ResNet20(), 272_474, basic_resnet(3, 16, 3)),
        (ResNet20(shortcut="A"), 269_722, basic_resnet(3, 16, 3, option="A")),
        (ResNet32(shortcut="A"), 464_154, basic_resnet(5, 16, 3, option="A")),
        (ResNet56(shortcut="A"), 853_018, basic_resnet(9, 16, 3, option="A")),
        (ResNet18(width=8), None, basic_resnet(2, 8, 4)),
    ],
)
def test_resnets_have_as_many_parameters_as_published(model, parameters, formula):
    assert count(on_paper(model)) == formula
    assert parameters in {formula, None}


def test_resnet_101_by_formula():
    total, inputs = 27 * 64 + 128, 64
    for stage, blocks in enumerate((3, 4, 23, 3)):
        planes = 64 * 2**stage
        for block in range(blocks):
            total += inputs * planes + 9 * planes**2 + 4 * planes**2 + 2 * (planes * 6)
            if block == 0:
                total += inputs * 4 * planes + 2 * 4 * planes
            inputs = 4 * planes
    total += inputs * 200 + 200
    assert count(on_paper(TinyImageNetResNet101(), (3, 64, 64), 200)) == total


@pytest.mark.parametrize(
    ("model", "convolutions"),
    [
        (Vgg11(), [64, 0, 128, 0, 256, 256, 0, 512, 512, 0, 512, 512]),
        (Vgg13(), [64, 64, 0, 128, 128, 0, 256, 256, 0, 512, 512, 0, 512, 512]),
        (Vgg16(), [64, 64, 0, 128, 128, 0] + [256] * 3 + [0] + [512] * 3 + [0] + [512] * 3),
        (Vgg19(), [64, 64, 0, 128, 128, 0] + [256] * 4 + [0] + [512] * 4 + [0] + [512] * 4),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_vggs_layer_by_layer(model, convolutions):
    """0 stands for a pooling by 2."""
    found, inputs, parameters = [], 3, 0
    network = on_paper(model)
    for module in network:
        if isinstance(module, nn.Conv2d):
            found.append(module.out_channels)
        elif isinstance(module, nn.MaxPool2d):
            found.append(0)
    assert found == convolutions
    for outputs in filter(None, convolutions):
        parameters += 9 * inputs * outputs + outputs + 2 * outputs
        inputs = outputs
    assert count(network) == parameters + 512 * 10 + 10


def test_vgg16_has_as_many_parameters_as_published():
    assert count(on_paper(Vgg16())) == 14_728_266


def test_resnets_halve_the_image_at_every_stage_but_the_first():
    network = ResNet18(width=2).build(CIFAR, 10).eval()
    sizes = []
    for name, module in network.named_children():
        if name.startswith("layer"):
            module.register_forward_hook(lambda m, i, out: sizes.append(tuple(out.shape[1:])))
    with torch.no_grad():
        network(torch.rand(1, *CIFAR))
    assert sizes == [(2, 32, 32), (4, 16, 16), (8, 8, 8), (16, 4, 4)]


def test_the_padded_shortcut_takes_every_second_pixel_and_adds_zeros():
    image = torch.arange(16.0).view(1, 1, 4, 4)
    out = PaddedShortcut(2, 2)(image)
    assert out[0, 0].tolist() == [[0, 2], [8, 10]]
    assert out.shape == (1, 3, 2, 2)
    assert not out[0, 1:].any()


@pytest.mark.parametrize("model", [Vgg11(), Vgg16()], ids=label)
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 15), (64,)])
def test_images_that_are_too_small_are_refused(model, shape):
    message = rf"'{model.name}' takes images .* at least 16x16 pixels, but the data has"
    with pytest.raises(SddError, match=message) as caught:
        model.build(shape, 10)
    assert str(list(shape)) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_no_image_is_refused_by_resnets_and_taken_by_mlps():
    with pytest.raises(SddError, match="'resnet20' takes images"):
        ResNet20().build((64,), 10)
    assert Mlp(widths=(5,)).build((64,), 3)(torch.rand(2, 64)).shape == (2, 3)


@pytest.mark.parametrize("model", [Vgg11(width=2), ResNet20(width=2)], ids=label)
def test_the_smallest_images_that_are_taken(model):
    network = model.build((3, model.smallest, model.smallest), 4).eval()
    assert network(torch.rand(1, 3, model.smallest, model.smallest)).shape == (1, 4)


def test_kaiming_normal_weights_and_scales_of_batch_normalisation_at_random():
    torch.manual_seed(0)
    network = ResNet18(width=16).build(CIFAR, 10)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            inputs = math.prod(module.weight.shape[1:])
            standard = module.weight * math.sqrt(inputs / 2)
            sd_of_deviation = 1 / math.sqrt(2 * standard.numel())
            assert abs(standard.std() - 1) < 5 * sd_of_deviation
            # Beyond what a uniform distribution with this deviation could give.
            assert standard.abs().max() > 2
        elif isinstance(module, nn.BatchNorm2d):
            assert 0 <= module.weight.min() < 0.5 < module.weight.max() < 1
            assert not module.bias.any()
    plain = ResNet18(width=16, norm_scale="one").build(CIFAR, 10)
    scales = [m.weight for m in plain.modules() if isinstance(m, nn.BatchNorm2d)]
    assert all(bool((scale == 1).all()) for scale in scales)


def test_an_mlp_starts_as_torch_has_it_or_kaiming_normal_as_in_the_paper_s_code():
    weights = {}
    for init in ("torch", "kaiming"):
        torch.manual_seed(0)
        weights[init] = Mlp(init=init).build((1, 28, 28), 10).hidden1.weight.detach()
    torch.manual_seed(0)
    assert torch.equal(weights["torch"], nn.Linear(784, 300).weight)
    assert weights["torch"].abs().max() <= 1 / 28
    assert weights["torch"].std() == pytest.approx(1 / 28 / math.sqrt(3), rel=0.01)
    assert weights["kaiming"].std() == pytest.approx(math.sqrt(2) / 28, rel=0.01)
    assert Mlp().init == "torch"


def test_layers_of_an_mlp_by_their_names():
    network = Mlp(widths=(4, 3, 2)).build((1, 2, 2), 5)
    assert [name for name, _ in network.named_children()] == [
        "flatten", "hidden1", "relu1", "hidden2", "relu2", "hidden3", "relu3", "output",
    ]

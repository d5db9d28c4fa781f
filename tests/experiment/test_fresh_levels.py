"""Fresh levels of a network that is handed over: its layers are drawn anew."""

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm, weight_norm
from torch.nn.utils.parametrize import register_parametrization

import sdd_core
from experiment.given import go, network
from sdd_core import SddError
from sdd_core.experiment.python_value import GivenModel, redrawn


def test_fresh_levels_redraw_all_layers_of_a_module():
    torch.manual_seed(2)
    others = nn.MultiheadAttention(4, 2), nn.LayerNorm(4), nn.Embedding(3, 2)
    model = nn.Sequential(network(), *others)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(7.0)
    model[0][1].bias.requires_grad_(False)
    given = GivenModel.of(model)
    fresh = given.fresh((1, 4, 4), 3)
    for name, parameter in fresh.named_parameters():
        assert parameter.isfinite().all()
        assert parameter.eq(7.0).all() == (name == "0.1.bias")  # frozen weights stay
    assert given.build((1, 4, 4), 3)[0][1].weight.eq(7.0).all()
    torch.manual_seed(3)
    one = given.fresh((1, 4, 4), 3)
    torch.manual_seed(3)
    other = given.fresh((1, 4, 4), 3)
    assert torch.equal(one[0][1].weight, other[0][1].weight)
    assert not torch.equal(one[0][1].weight, fresh[0][1].weight)


class Held(nn.Sequential):
    """Layers that stay in evaluation mode."""

    def train(self, mode: bool = True):
        return super().train(False)


def frozen(*layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(*layers).requires_grad_(False)


@pytest.mark.parametrize(
    ("block", "stay"),
    [
        (lambda: Held(frozen(nn.BatchNorm2d(1))), True),  # as fine-tuning keeps it
        (lambda: frozen(nn.BatchNorm2d(1)), True),
        (lambda: frozen(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1, affine=False)), True),
        (lambda: Held(nn.BatchNorm2d(1)), True),  # its scale is trained, its statistics are not
        (lambda: Held(nn.BatchNorm2d(1, affine=False)), True),
        (lambda: nn.BatchNorm2d(1), False),
        (lambda: nn.BatchNorm2d(1, affine=False), False),
        (lambda: nn.Sequential(frozen(nn.Conv2d(1, 1, 1)), nn.BatchNorm2d(1)), False),
    ],
    ids=range(8),
)
def test_fresh_levels_keep_statistics_that_no_training_estimates(block, stay):
    model = nn.Sequential(block(), nn.Flatten(), nn.Linear(16, 3))
    for buffer in model.buffers():
        buffer.fill_(7)
    fresh = GivenModel.of(model).fresh((1, 4, 4), 3)
    assert all(bool(buffer.eq(7).all()) == stay for buffer in fresh.buffers())
    assert not torch.equal(fresh[2].weight, model[2].weight)


@pytest.mark.parametrize("options", [{"retrain": "scratch"}, {"ablation": "reinit"}])
def test_levels_that_start_anew_train_behind_the_statistics_of_a_frozen_layer(tmp_path, options):
    norm = nn.BatchNorm2d(1).requires_grad_(False)
    norm.running_mean.fill_(5.0)
    norm.running_var.fill_(4.0)
    seen = []

    class Statistics(sdd_core.Metric):
        """What a level was trained with."""

        name = "statistics"

        def measure(self, level):
            seen.append([buffer.item() for buffer in level.network()[0].buffers()][:2])
            return {"statistics": 0.0}

    model = nn.Sequential(Held(norm), *network())
    go(tmp_path, model=model, metrics=[Statistics()], **options)
    assert seen == [[5.0, 4.0]] * 2


class Scaled(nn.Module):
    """A layer with a parameter of its own."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(16, 3)
        self.scale = nn.Parameter(torch.ones(3))

    def forward(self, images):
        return self.scale * self.fc(images.flatten(1))


def test_a_parameter_that_nothing_redraws_is_told_before_anything_is_trained(tmp_path):
    with pytest.raises(SddError, match=r"'given:Scaled': .* sets 'scale'; pass a function"):
        go(tmp_path / "store", model=Scaled(), retrain="scratch")
    assert not (tmp_path / "store").exists()
    assert len(go(tmp_path / "store", model=Scaled(), retrain="rewind").levels) == 2
    assert len(go(tmp_path / "store", model=Scaled, retrain="scratch").levels) == 2

    class Whole(Scaled):
        def reset_parameters(self):
            nn.init.ones_(self.scale)
            nn.init.zeros_(self.fc.weight)

    assert redrawn(Whole(), "whole").fc.weight.eq(0).all()  # the outer one has the last word


class Halved(nn.Module):
    """A weight that is half of what is trained."""

    def forward(self, trained):
        return trained / 2

    def right_inverse(self, weight):
        return 2 * weight


class Clipped(nn.Module):
    """A parametrisation that says nothing of its inverse."""

    def forward(self, trained):
        return trained.clamp(-1, 1)


def normed():
    layers = [nn.Linear(4, 3), nn.Conv2d(2, 3, 2), nn.Linear(4, 3)]
    made = nn.ModuleList(
        [weight_norm(layers[0]), spectral_norm(layers[1]), layers[2], nn.GRU(3, 2)]
    )
    register_parametrization(layers[2], "weight", Halved())
    return made


def test_fresh_levels_redraw_what_parametrised_weights_are_computed_from():
    given = GivenModel.of(normed())
    before = given.build((1, 4, 4), 3)
    torch.manual_seed(5)
    fresh = given.fresh((1, 4, 4), 3)
    for layer, old in zip(fresh[:3], before[:3], strict=True):
        assert not torch.equal(layer.weight, old.weight)
        bound = 1 / layer.weight[0].numel() ** 0.5  # of torch's own initialisation
        assert type(layer) is type(old)
        if type(old).__name__ != "ParametrizedConv2d":  # which is divided by its norm
            assert layer.weight.abs().max() <= bound + 1e-6
    for tensor in fresh.state_dict().values():
        assert tensor.isfinite().all()
    torch.manual_seed(5)
    assert torch.equal(given.fresh((1, 4, 4), 3)[2].weight, fresh[2].weight)
    assert fresh.state_dict().keys() == before.state_dict().keys()


def test_a_parametrisation_without_an_inverse_is_not_drawn_anew_in_silence():
    layer = nn.Linear(4, 3)
    register_parametrization(layer, "weight", Clipped())
    with pytest.raises(SddError, match=r"sets '0\.parametrizations\.weight\.original'"):
        GivenModel.of(nn.Sequential(layer)).fresh((1, 4, 4), 3)

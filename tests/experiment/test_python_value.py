"""A network and data handed over in Python: runs, their records, and going on with them."""

import math

import numpy as np
import pytest
import torch
from support import Log
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm, weight_norm
from torch.nn.utils.parametrize import register_parametrization
from torch.utils.data import TensorDataset

import sdd_core
from sdd_core import Dataset, Experiment, SddError, load_plugins
from sdd_core.experiment.keys import dense_key, run_name
from sdd_core.experiment.python_value import GivenModel, redrawn
from sdd_core.experiment.settings import read_toml
from sdd_core.runs.open_run import open_run

torch.manual_seed(0)
IMAGES, LABELS = torch.rand(60, 1, 4, 4), torch.arange(60) % 3
TRAIN, TEST = (IMAGES[:40], LABELS[:40]), (IMAGES[40:], LABELS[40:])
QUICK = {"train": {"epochs": 2}, "levels": 1, "noise": {"rate": 0.0}}


def network(width=8, classes=3):
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Flatten(), nn.Linear(16, width), nn.BatchNorm1d(width), nn.Linear(width, classes)
    )


def go(store, **settings):
    return sdd_core.run(
        QUICK, store=store, device="cpu",
        **{"model": network(), "data": (TRAIN, TEST), **settings},
    )  # fmt: skip


def test_a_module_starts_from_its_own_weights_and_is_not_changed(tmp_path):
    model = network()
    with torch.no_grad():
        model[1].weight.fill_(0.25)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    seen = {}

    class First(sdd_core.Metric):
        """The initial weights."""

        name = "first"

        def measure(self, level):
            seen.update(level.initial)
            return {"first": 0.0}

    go(tmp_path, model=model, metrics=[First()])
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    assert seen.keys() == dict(model.named_parameters()).keys()
    assert all(torch.equal(value, before[name]) for name, value in seen.items())
    assert model.training


def test_the_same_values_go_on_and_others_begin_anew(tmp_path):
    first = go(tmp_path)
    log = Log()
    again = go(tmp_path, observers=[log], data=(TensorDataset(*TRAIN), TEST), levels=2)
    assert again.run != first.run  # the data has another name
    go(tmp_path, observers=[log], levels=2)
    assert log.levels == [0, 1, 2, 2]
    for changed in ({"model": network(9)}, {"data": (TRAIN, (TEST[0] + 1, TEST[1]))}):
        log = Log()
        go(tmp_path, observers=[log], **changed)
        assert log.levels == [0, 1]


def test_a_record_shows_but_does_not_go_on(tmp_path):
    result = go(tmp_path)
    settings = read_toml(result.folder / "experiment.toml")
    assert settings["model"].keys() == settings["data"].keys() == {"name", "content"}
    assert (settings["model"]["name"], settings["data"]["name"]) == (
        "given:Sequential", "given:tensors",
    )
    run = open_run(result.folder, load_plugins())
    assert run.result().levels == result.levels
    assert run_name(run.experiment) == result.run
    assert run.experiment == result.experiment
    with pytest.raises(SddError, match="data 'given:tensors' was passed in Python") as told:
        sdd_core.run(run.experiment, store=tmp_path)
    assert "\n" not in str(told.value)
    with pytest.raises(SddError, match="model 'given:Sequential' was passed in Python"):
        sdd_core.run(run.experiment, store=tmp_path, data=(TRAIN, TEST))


def test_a_function_is_told_the_shape_and_the_classes(tmp_path):
    told = []

    def make(num_classes, input_shape):
        told.append((num_classes, input_shape))
        return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(input_shape), num_classes))

    result = go(tmp_path, model=make, retrain="scratch", pruner={"exempt": []})
    assert set(told) == {(3, (1, 4, 4))}
    assert result.run.startswith("given_tensors-given_make-imp-scratch")
    assert go(tmp_path, model=network).run != result.run


@pytest.mark.parametrize("width", [5, 6])
def test_what_a_function_closes_over_counts(width):
    keys = {
        dense_key(Experiment.make({"model": lambda w=w: network(w)})) for w in (5, 5, width)
    }
    assert len(keys) == (1 if width == 5 else 2)


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


def test_train_and_test_are_the_data_where_there_is_a_test(tmp_path):
    prune_ties = go(tmp_path)
    log = Log()
    apart = sdd_core.run(QUICK, model=network(), train=TRAIN, test=TEST, store=tmp_path,
                         device="cpu", observers=[log])
    assert (apart.run, apart.levels, log.levels) == (prune_ties.run, prune_ties.levels, [])


def test_settings_replace_those_of_the_experiment():
    experiment = Experiment.make({"seed": 3, "levels": 2})
    with pytest.raises(SddError, match="examples is 5000, but 'digits'"):
        sdd_core.run(experiment, data={"name": "digits", "examples": 5000}, train={"epochs": 1})
    with pytest.raises(SddError, match="sed: there is no such setting"):
        sdd_core.run(experiment, sed=1)
    with pytest.raises(SddError, match=r"train\.epochs: "):
        sdd_core.run(train={"epochs": -1})


def test_a_run_by_keywords_is_the_run_of_the_file(tmp_path):
    settings = {**QUICK, "pruner": "random", "retrain": "finetune", "seed": 4}
    by_name = sdd_core.run(**settings, store=tmp_path, device="cpu")
    log = Log()
    assert sdd_core.run(settings, store=tmp_path, device="cpu", observers=[log]).run == by_name.run
    assert log.levels == []
    assert by_name.experiment.seed == 4


BAD = [
    ({"model": 3}, "model: expected a name, a table, a torch.nn.Module or a function"),
    ({"model": lambda: None}, "model 'given:<lambda>' returned NoneType; expected a torch.nn"),
    ({"model": lambda: 1 / 0}, "model 'given:<lambda>' failed: ZeroDivisionError"),
    ({"model": lambda: nn.Sequential(nn.Flatten(), nn.LazyLinear(3))}, "has lazy layers"),
    ({"model": network(classes=4)}, r"'given:Sequential' gives \[2, 4\] for 2 images"),
    ({"model": nn.Conv2d(3, 3, 1)}, "'given:Conv2d' cannot take images of 'given:tensors'"),
    ({"data": (TRAIN,)}, "data: expected a name, a table, a sdd_core.Dataset, or training and"),
    ({"data": TRAIN[0]}, "data: expected a name"),
    ({"data": ((np.zeros((4, 3)), [0.5] * 4), TEST)}, "'given:tensors': the training split has la"),
    ({"data": (TRAIN, ([*TEST[0]],))}, "'given:tensors': the test split has no label for item 0"),
    ({"test": TEST}, "test: test data requires training data in train="),
    ({"train": TRAIN, "test": TEST}, "and excludes data="),
    ({"train": TRAIN}, "train: got tuple without test="),
]


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


@pytest.mark.parametrize(("settings", "message"), BAD, ids=range(len(BAD)))
def test_what_does_not_fit_is_one_line_and_nothing_is_written(tmp_path, settings, message):
    with pytest.raises(SddError, match=message) as refused:
        go(tmp_path / "store", **settings)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "store").exists()


class Tired(nn.Module):
    """Fails at the third batch."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(16, 3)
        self.calls = 0

    def forward(self, images):
        self.calls += 1
        if self.calls == 3:
            raise RuntimeError("out of\nmemory")
        return self.fc(images.flatten(1))


def test_a_network_that_fails_in_training_is_one_line(tmp_path):
    with pytest.raises(SddError) as refused:
        go(tmp_path, model=Tired, kernels="none")
    assert str(refused.value) == (
        "model 'given:Tired' failed: RuntimeError: out of memory"
    )


def test_a_data_set_is_taken_as_it_is(tmp_path):
    data = Dataset.of(TRAIN, TEST, name="mine")
    assert go(tmp_path, data=data).run.startswith("given_mine-")


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

"""A network and data handed over in Python: runs, their records, and going on with them."""
import math

import numpy as np
import pytest
import torch
from support import Log
from torch import nn
from torch.utils.data import TensorDataset

import sdd_core
from experiment.given import QUICK, TEST, TRAIN, go, network
from sdd_core import Dataset, Experiment, SddError, load_plugins
from sdd_core.experiment.keys import dense_key, run_name
from sdd_core.experiment.settings import read_toml
from sdd_core.runs.open_run import open_run


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

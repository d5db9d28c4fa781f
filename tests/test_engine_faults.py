"""A run whose parts fail: one line each, and the store stays whole."""

import json
import math
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from support import Log, go, plugins_with, rows, small, weights
from torch import nn

from sdd_core import (
    DataSource,
    Experiment,
    LabelNoise,
    Loss,
    Metric,
    Model,
    Pruner,
    Retraining,
    Schedule,
    SddError,
    Split,
)
from sdd_core.runs.store import Store

# Pruners that fail


def scores_of(level):
    return {name: level.weights[name].abs() for name in level.prunable}


def cut(scores):
    return {name: tensor[1:] for name, tensor in scores.items()}


PRUNERS = {
    "raises": (lambda level: 1 / 0, "pruner 'bad' failed: ZeroDivisionError: division by zero"),
    "exits": (lambda level: sys.exit(0), "pruner 'bad' failed: SystemExit: 0"),
    "none": (lambda level: None, "returned NoneType; expected a mapping"),
    "generator": (lambda level: (x for x in ()), "returned generator; expected a mapping"),
    "nan": (lambda level: {n: s * math.nan for n, s in scores_of(level).items()}, "NaN"),
    "shape": (lambda level: cut(scores_of(level)), r"have shape \[15, 64\]; expected \[16, 64\]"),
    "too few": (lambda level: {}, "gave no scores for 'hidden1.weight'"),
    "too many": (lambda level: level.weights, "scored an unknown layer"),
    "numbers": (lambda level: dict.fromkeys(level.prunable, 1.0), "expected"),
    "complex": (lambda level: {n: s * 1j for n, s in scores_of(level).items()}, "pruner 'bad'"),
    "attribute": (lambda level: level.no_such_thing, "AttributeError"),
}


@pytest.mark.parametrize("fault", PRUNERS)
def test_a_pruner_that_fails_is_one_line(tmp_path, fault):
    function, message = PRUNERS[fault]

    class Bad(Pruner):
        """Fails."""

        name = "bad"

        def scores(self, level):
            return function(level)

    with pytest.raises(SddError, match=message) as refused:
        go(small(pruner="bad"), tmp_path, plugins=plugins_with(sdd_pruners=[Bad]))
    assert "\n" not in str(refused.value)
    log = Log()
    go(small(), tmp_path, observers=[log])
    assert log.levels == [1, 2], "the dense level was kept"


@pytest.mark.parametrize("dtype", [torch.int32, torch.float16, torch.bfloat16])
def test_scores_of_any_real_type_will_do(tmp_path, dtype):
    class Odd(Pruner):
        """Scores of an odd type."""

        name = "odd"

        def scores(self, level):
            return {n: (10 * level.weights[n].abs()).to(dtype) for n in level.prunable}

    result = go(small(pruner={"name": "odd", "fraction": 0.5}, levels=1), tmp_path,
                plugins=plugins_with(sdd_pruners=[Odd]))
    assert result.levels[1].density == 0.5


# Other plugins that fail, before anything is written


def schedule(give):
    class Bad(Schedule):
        """Gives what it is told."""

        name = "bad"

        def retraining(self, dense):
            return give(dense)

    return {"sdd_schedules": [Bad]}, {"retrain": "bad"}


def model(give):
    class Bad(Model):
        """Gives what it is told."""

        name = "bad"

        def build(self, input_shape, num_classes):
            return give(input_shape, num_classes)

    return {"sdd_models": [Bad]}, {"model": "bad"}


def noise(give):
    class Bad(LabelNoise):
        """Gives what it is told."""

        name = "bad"

        def corrupt(self, labels, data, generator):
            return give(labels)

    return {"sdd_label_noise": [Bad]}, {"noise": "bad"}


def data(give):
    class Bad(DataSource):
        """Gives what it is told."""

        name = "bad"

        def load(self, root):
            return give()

    return {"sdd_data_sources": [Bad]}, {"data": "bad"}


def with_settings(bad, **more):
    hooks, settings = bad
    return hooks, settings | more


class InDouble(nn.Sequential):
    """Calculates in double precision, and says nothing of it."""

    def __init__(self, inputs, classes):
        super().__init__(nn.Flatten(), nn.Linear(inputs, classes).double())

    def forward(self, images):
        return super().forward(images.double()).float()


class OneIsTooFew(nn.Module):
    """Batch normalisation, which cannot be trained on a single example."""

    def __init__(self, inputs, classes):
        super().__init__()
        self.norm = nn.BatchNorm1d(inputs)
        self.output = nn.Linear(inputs, classes)

    def forward(self, images):
        return self.output(self.norm(images.flatten(1)))


def raising(*_):
    raise RuntimeError("two\nlines")


def linear(shape, classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), classes))


EARLY = {
    "schedule raises": (schedule(raising),
                        "retraining schedule 'bad' failed: RuntimeError: two lines"),
    "schedule gives none": (schedule(lambda dense: None), "'bad' returned NoneType; expected"),
    "no step": (schedule(lambda d: Retraining("fresh", d.learning_rates[:0])), "no step to train"),
    "nan rate": (schedule(lambda d: Retraining("fresh", d.learning_rates * math.nan)),
                 "learning rate that is not between"),
    "negative rate": (schedule(lambda d: Retraining("fresh", -d.learning_rates)),
                      "learning rate that is not between"),
    "no such start": (schedule(lambda d: Retraining("middle", d.learning_rates)),
                      "starts from 'middle'; expected one of 'initialisation'"),
    "too late": (schedule(lambda d: Retraining("rewind point", d.learning_rates, 10**6)),
                 "starts at step 1000000; the dense network trains steps 0 to 24"),
    "model raises": (model(raising), "model 'bad' failed: RuntimeError: two lines"),
    "no network": (model(lambda *_: 3), "model 'bad' returned int; expected a torch.nn.Module"),
    "wrong classes": (model(lambda shape, classes: linear(shape, classes + 1)),
                      r"gives \[2, 11\] for 2 images; expected \[2, 10\]"),
    "wrong inputs": (model(lambda shape, classes: nn.Linear(7, classes)), "cannot take images"),
    "no prunable layer": (model(lambda *_: nn.Sequential(nn.Flatten(), nn.LayerNorm(64),
                                                        nn.AdaptiveAvgPool1d(10))),
                          "no prunable layers"),
    "double precision": (model(lambda shape, classes: InDouble(math.prod(shape), classes)),
                         "has the parameter '1.weight' of type torch.float64; expected "
                         "torch.float32 for all trainable parameters"),
    "one in the last batch": (
        with_settings(model(lambda shape, classes: OneIsTooFew(math.prod(shape), classes)),
                      train={"epochs": 1, "batch_size": 999}),
        "model 'bad' cannot train on one example, and with train.batch_size 999 a batch of the "
        "1000 of 'digits' has only one; choose another size: ValueError: Expected more"),
    "noise raises": (noise(raising), "noise 'bad' failed: RuntimeError: two lines"),
    "noise gives none": (noise(lambda labels: None), "noise 'bad' failed"),
    "noise outside": (noise(lambda labels: labels + 1), "labels from 1 to 10"),
    "noise forgets": (noise(lambda labels: labels[1:]), "1000 images but 999 labels"),
    "noise gives floats": (noise(lambda labels: labels.float()), "labels of type torch.float32"),
    "data raises": (data(raising), "data 'bad' failed: RuntimeError: two lines"),
    "data gives none": (data(lambda: None), "data 'bad' failed"),
}


@pytest.mark.parametrize("fault", EARLY)
def test_a_part_that_fails_is_one_line_and_nothing_is_written(tmp_path, fault):
    (hooks, settings), message = EARLY[fault]
    with pytest.raises(SddError, match=message) as refused:
        go(small(**settings), tmp_path / "store", plugins=plugins_with(**hooks))
    assert "\n" not in str(refused.value)
    assert not list(tmp_path.iterdir())


class FailsLater(nn.Sequential):
    """Fails when it has trained for a while."""

    calls = 0

    def forward(self, images):
        self.calls += self.training
        if self.calls > 4:
            raise ValueError("two\nlines")
        return super().forward(images)


def test_a_network_that_fails_in_training_is_one_line(tmp_path):
    hooks, settings = model(lambda shape, classes: FailsLater(*linear(shape, classes)))
    with pytest.raises(SddError, match="model 'bad' failed: ValueError: two lines") as refused:
        go(small(**settings, kernels="none"), tmp_path, plugins=plugins_with(**hooks))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (raising, "RuntimeError: two lines"),
        (lambda logits, *_: None, "AttributeError"),
        (lambda logits, *_: logits, "RuntimeError: grad can be implicitly created only for scalar"),
    ],
)
def test_a_loss_that_fails_is_one_line(tmp_path, function, reason):
    class Bad(Loss):
        """Fails."""

        name = "bad"

        def loss(self, logits, labels, teacher):
            return function(logits, labels, teacher)

    with pytest.raises(SddError, match=f"loss 'bad' failed: {reason}") as refused:
        go(small(loss="bad"), tmp_path, plugins=plugins_with(sdd_losses=[Bad]))
    assert "\n" not in str(refused.value)


def test_a_schedule_cannot_change_the_dense_training(tmp_path):
    def spoil(dense):
        dense.learning_rates[:] = 0
        return Retraining("fresh", np.full(8, 0.1))

    hooks, settings = schedule(spoil)
    spoiled = go(small(**settings), tmp_path / "a", plugins=plugins_with(**hooks))
    plain = go(small(), tmp_path / "b")
    assert weights(spoiled)[0] == weights(plain)[0]
    assert spoiled.levels[1].epochs[-1]["learning_rate"] == 0.1


def test_label_noise_keeps_the_true_labels(tmp_path):
    seen = {}

    class Look(Metric):
        """Notes the labels."""

        name = "look"

        def measure(self, level):
            seen["data"] = level.data
            return {}

    hooks, settings = noise(lambda labels: labels.fill_(3))
    go(small(levels=0, metrics=["look"], **settings), tmp_path,
       plugins=plugins_with(sdd_metrics=[Look], **hooks))
    train, test = seen["data"].train, seen["data"].test
    assert (train.labels == 3).all()
    assert torch.bincount(train.true_labels).min() > 50, "as the data set has them"
    assert torch.equal(test.labels, test.true_labels)


def test_data_that_was_loaded_in_inference_mode_can_be_trained_on(tmp_path):
    digits = Experiment().data.load(None)

    @torch.inference_mode()
    def load():
        copies = [(s.images.clone(), s.labels.clone()) for s in (digits.train, digits.test)]
        train, test = (Split(*pair) for pair in copies)
        return replace(digits, train=train, test=test)

    hooks, settings = data(load)
    result = go(small(**settings, noise="none", kernels="none"), tmp_path,
                plugins=plugins_with(**hooks))
    usual = go(small(noise="none", kernels="none"), tmp_path)
    assert rows(result) == rows(usual)


def test_tied_weights_train_and_are_kept(tmp_path):
    class Tied(nn.Module):
        def __init__(self, inputs, classes):
            super().__init__()
            self.first = nn.Linear(inputs, inputs)
            self.second = nn.Linear(inputs, inputs)
            self.second.weight = self.first.weight
            self.output = nn.Linear(inputs, classes)

        def forward(self, images):
            return self.output(self.second(self.first(images.flatten(1)).relu()).relu())

    hooks, settings = model(lambda shape, classes: Tied(math.prod(shape), classes))
    result = go(small(**settings), tmp_path, plugins=plugins_with(**hooks))
    state = load_file(result.folder / "levels" / "02" / "weights.safetensors")
    assert "first.weight" in state
    found = Store(tmp_path).load_level(result.levels[2].key).state
    assert torch.equal(found["first.weight"], found["second.weight"])


def test_buffers_that_are_infinite_by_design_are_no_divergence(tmp_path):
    class Masked(nn.Module):
        def __init__(self, inputs, classes):
            super().__init__()
            self.output = nn.Linear(inputs, classes)
            self.register_buffer("bound", torch.tensor(-math.inf))

        def forward(self, images):
            return self.output(images.flatten(1).maximum(self.bound))

    hooks, settings = model(lambda shape, classes: Masked(math.prod(shape), classes))
    result = go(small(**settings), tmp_path, plugins=plugins_with(**hooks))
    assert not any(level.diverged for level in result.levels)


def test_without_any_metric_a_run_still_has_its_levels(tmp_path):
    result = go(small(metrics=[]), tmp_path)
    assert [level.metrics for level in result.levels] == [{}, {}, {}]
    json.dumps(result.to_json(), allow_nan=False)

"""A run: levels as a function of the experiment alone, and plugins that misbehave."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from support import Log, contents, go, plugins_with, small
from torch import nn

import sdd_core
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
    hookimpl,
)
from sdd_core.store import Store

WEIGHTS = [f"levels/{level:02d}/weights.safetensors" for level in range(3)]


def weights(result):
    files = contents(result.folder)
    return [files[name] for name in WEIGHTS]


class Dropping(Model):
    """A network that draws from torch's global generator while it trains."""

    name = "dropping"

    def build(self, input_shape, num_classes):
        inputs = math.prod(input_shape)
        return nn.Sequential(
            nn.Flatten(), nn.Linear(inputs, 16), nn.ReLU(), nn.Dropout(0.3),
            nn.Linear(16, num_classes),
        )


# Levels and keys


def test_the_same_experiment_gives_the_same_bytes(tmp_path):
    one, other = go(small(), tmp_path / "a"), go(small(), tmp_path / "b")
    assert contents(one.folder) == contents(other.folder)
    assert one.levels == other.levels


def test_a_run_depends_on_no_random_state_and_changes_none(tmp_path):
    plugins = plugins_with(sdd_models=[Dropping])
    settings = small(model="dropping", pruner="gradient")
    torch.manual_seed(1)
    one = go(settings, tmp_path / "a", plugins=plugins)
    torch.manual_seed(2)
    before = torch.get_rng_state()
    other = go(settings, tmp_path / "b", plugins=plugins)
    assert torch.equal(torch.get_rng_state(), before)
    assert contents(one.folder) == contents(other.folder)


def test_more_levels_train_only_the_new_ones(tmp_path):
    whole = go(small(levels=4), tmp_path / "whole")
    logs = [Log(), Log(), Log()]
    for log, levels in zip(logs, (1, 4, 2), strict=True):
        last = go(small(levels=levels), tmp_path / "store", observers=[log])
    assert [log.levels for log in logs] == [[0, 1], [2, 3, 4], []]
    assert [level.level for level in last.levels] == [0, 1, 2]
    assert contents(last.folder) == contents(whole.folder), "the run keeps the levels it had"


def test_runs_that_differ_after_it_share_the_dense_network(tmp_path):
    trained = []
    for changes in (
        {},
        {"pruner": "random"},
        {"retrain": "scratch"},
        {"retrain": {"name": "rewind", "to": 4}, "levels": 1},
    ):
        log = Log()
        go(small(**changes), tmp_path, observers=[log])
        trained.append(log.levels)
    assert trained == [[0, 1, 2], [1, 2], [1, 2], [1]]


def test_metrics_that_are_added_later_train_nothing(tmp_path):
    first = go(small(metrics=["sparsity"]), tmp_path)
    log = Log()
    second = go(small(metrics=["sparsity", "accuracy"]), tmp_path, observers=[log])
    assert log.levels == []
    assert second.run == first.run
    assert "test_accuracy" not in first.levels[0].metrics
    assert set(second.levels[0].metrics) > set(first.levels[0].metrics)
    whole = go(small(metrics=["sparsity", "accuracy"]), tmp_path / "whole")
    assert second.levels == whole.levels


def test_masks_are_nested_and_pruned_weights_exactly_zero(tmp_path):
    settings = small(levels=3, train={"epochs": 3, "weight_decay": 0.01})
    result = go(settings, tmp_path)
    store = Store(tmp_path)
    size = kept = 64 * 16
    before = None
    for level in result.levels:
        found = store.load_level(level.key)
        mask = found.masks["hidden1.weight"]
        assert int(mask.sum()) == kept
        assert level.density == kept / size
        assert level.sparsity == pytest.approx(1 - kept / size)
        assert found.masks["output.weight"].all(), "the last layer of this model is exempt"
        gone = found.state["hidden1.weight"][~mask]
        assert torch.equal(gone, torch.zeros_like(gone))
        assert not torch.signbit(gone).any()
        assert before is None or not (mask & ~before).any()
        before, kept = mask, kept - math.ceil(0.4 * kept)


def test_a_rewound_level_starts_from_the_dense_initialisation(tmp_path):
    """Learning rate almost 0: a level ends where it started."""
    settings = small(levels=1, train={"epochs": 1, "lr": 1e-30})
    result = go(settings, tmp_path)
    store = Store(tmp_path)
    dense, ticket = (store.load_level(level.key).state for level in result.levels)
    mask = store.load_level(result.levels[1].key).masks["hidden1.weight"]
    assert torch.equal(ticket["hidden1.weight"], dense["hidden1.weight"] * mask)
    fresh = go({**settings, "retrain": "scratch"}, tmp_path)
    other = store.load_level(fresh.levels[1].key).state["hidden1.weight"]
    assert not torch.isclose(other, dense["hidden1.weight"])[mask].any()


def test_the_last_weights_can_go(tmp_path):
    settings = small(levels=5, pruner={"name": "imp", "fraction": 0.9, "exempt": []})
    result = go(settings, tmp_path)
    counts = [round(level.density * (64 * 16 + 16 * 10)) for level in result.levels]
    assert counts == [1184, 118, 11, 1, 0, 0]


def test_one_shot_pruning_reaches_its_sparsity_in_one_level(tmp_path):
    result = go(
        {**small(), "levels": 1, "pruner": {"name": "imp", "sparsity": 0.75}}, tmp_path
    )
    assert [level.sparsity for level in result.levels] == [0.0, 0.75]


def test_a_mapping_a_value_and_nothing_are_experiments(tmp_path):
    by_mapping = go(small(levels=0), tmp_path)
    by_value = sdd_core.run(Experiment.make(small(levels=0)), store=str(tmp_path))
    assert by_mapping.levels == by_value.levels


def test_the_document_is_json_without_nan(tmp_path):
    result = go(small(), tmp_path)
    document = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert document["run"] == result.run
    assert [level["level"] for level in document["levels"]] == [0, 1, 2]
    metrics = document["levels"][1]["metrics"]
    assert {"test_accuracy", "train_accuracy", "learning_distance"} <= set(metrics)


def test_an_unknown_device_is_one_line(tmp_path):
    with pytest.raises(SddError, match="cannot use device 'abacus'"):
        sdd_core.run(small(), store=tmp_path / "store", device="abacus")
    assert not list(tmp_path.iterdir())


# Divergence


@pytest.mark.parametrize(
    "retrain",
    ["finetune", "lr-rewind", "scratch", {"name": "rewind", "to": 0}, {"name": "rewind", "to": 3}],
    ids=str,
)
@pytest.mark.parametrize("engine", ["auto", "reference"])
def test_divergence_is_recorded_and_the_run_goes_on(tmp_path, retrain, engine):
    settings = small(train={"epochs": 2, "lr": 1e25}, retrain=retrain, engine=engine)
    result = go(settings, tmp_path)
    assert len(result.levels) == 3
    assert result.levels[0].diverged
    json.dumps(result.to_json(), allow_nan=False)
    for level in result.levels:
        found = Store(tmp_path).load_level(level.key)
        assert found.diverged == level.diverged
        assert all(tensor.isfinite().all() for tensor in found.state.values())
        assert (level.metrics["test_accuracy"] is None) == level.diverged
    lines = (result.folder / "metrics.jsonl").read_text()
    assert "NaN" not in lines
    assert "Infinity" not in lines


# Plugins draw, and reach for what is not theirs


def rows(result):
    return [(level.metrics, level.density) for level in result.levels]


class Drawing(Metric):
    """Draws from torch's global generator."""

    name = "aaa"  # before the others in every order

    def measure(self, level):
        torch.manual_seed(3)
        return {"drawn": torch.rand(()).item()}


class DrawingObserver:
    @hookimpl
    def sdd_epoch_start(self):
        torch.manual_seed(0)

    @hookimpl
    def sdd_level_end(self):
        torch.rand(5)


class Sloppy(Pruner):
    """A random pruner that takes no generator of its own."""

    name = "sloppy"

    def scores(self, level):
        return {name: torch.rand(level.masks[name].shape) for name in level.prunable}


def test_draws_of_metrics_and_observers_change_nothing(tmp_path):
    settings = small(model="dropping")
    plain = go(settings, tmp_path / "a", plugins=plugins_with(sdd_models=[Dropping]))
    plugins = plugins_with(sdd_models=[Dropping], sdd_metrics=[Drawing])
    drawn = go(settings, tmp_path / "b", plugins=plugins, observers=[DrawingObserver()])
    assert weights(drawn) == weights(plain)


def test_a_pruner_that_draws_globally_does_so_repeatably(tmp_path):
    plugins = plugins_with(sdd_pruners=[Sloppy], sdd_models=[Dropping])
    settings = small(pruner="sloppy", model="dropping")
    whole = go(settings, tmp_path / "whole", plugins=plugins)
    for levels in (0, 1, 2):
        torch.manual_seed(levels)
        parts = go({**settings, "levels": levels}, tmp_path / "parts", plugins=plugins)
    assert contents(parts.folder) == contents(whole.folder)


class Vandal(Metric):
    """Spoils all that it sees."""

    name = "aaa"

    def measure(self, level):
        for tensors in (level.weights, level.initial, level.masks):
            for tensor in tensors.values():
                tensor.zero_()
            tensors.clear()
        level.train_logits.zero_()
        level.test_logits.zero_()
        with torch.no_grad():
            for parameter in level.network().parameters():
                parameter.zero_()
        level.level = 99
        return {}


class VandalPruner(Pruner):
    """Prunes by magnitude, and spoils all that it sees."""

    name = "vandal"

    def scores(self, level):
        found = {name: level.weights[name].abs() for name in level.prunable}
        Vandal().measure(level)
        return found


def test_a_metric_gets_copies(tmp_path):
    others = ["sparsity", "learning_distance", "memorisation", "accuracy"]
    plain = go(small(metrics=others), tmp_path / "a")
    plugins = plugins_with(sdd_metrics=[Vandal])
    spoiled = go(small(metrics=["aaa", *others]), tmp_path / "b", plugins=plugins)
    assert weights(spoiled) == weights(plain)
    assert rows(spoiled) == rows(plain)


def test_a_pruner_gets_copies(tmp_path):
    plain = go(small(pruner="imp"), tmp_path / "a")
    plugins = plugins_with(sdd_pruners=[VandalPruner])
    spoiled = go(small(pruner="vandal"), tmp_path / "b", plugins=plugins)
    assert weights(spoiled) == weights(plain)


@pytest.mark.parametrize("part", ["train.images", "train.labels", "train.true_labels",
                                  "test.images", "test.labels"])
def test_changing_the_data_is_refused(tmp_path, part):
    class Forger(Metric):
        """Changes the data set."""

        name = "forger"

        def measure(self, level):
            split, _, tensor = part.partition(".")
            getattr(getattr(level.data, split), tensor).zero_()
            return {}

    said = r"^metric 'forger' changed the data set in place"
    with pytest.raises(SddError, match=said) as refused:
        go(small(), tmp_path, plugins=plugins_with(sdd_metrics=[Forger]))
    assert "\n" not in str(refused.value)


# Metrics that fail


def test_a_metric_that_raises_is_none_and_the_run_goes_on(tmp_path, capsys):
    class Broken(Metric):
        """Raises."""

        name = "broken"

        def measure(self, level):
            if level.level == 1:
                raise RuntimeError("two\nlines")
            return {"broken_value": 1.0}

    settings = small(metrics=["broken", "accuracy"])
    plugins = plugins_with(sdd_metrics=[Broken])
    result = go(settings, tmp_path, plugins=plugins)
    assert [level.metrics.get("broken_value") for level in result.levels] == [1.0, None, 1.0]
    assert result.levels[1].metrics["broken"] is None
    assert result.levels[1].metrics["test_accuracy"] is not None
    said = capsys.readouterr().err
    assert said.count("sdd: warning") == 1
    assert "level 1: metric 'broken' failed: RuntimeError: two lines" in said

    # Once it is mended, what failed is measured, and nothing trained.
    Broken.measure = lambda self, level: {"broken_value": 2.0}
    log = Log()
    again = go(settings, tmp_path, plugins=plugins, observers=[log])
    assert [level.metrics["broken_value"] for level in again.levels] == [1.0, 2.0, 1.0]
    assert log.levels == []


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (math.nan, None),
        (torch.tensor(math.inf), None),
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
        (torch.tensor([1.0, math.nan]), [1.0, None]),
        (np.array([[1, 2]]), [[1, 2]]),
        ({"layer": torch.tensor(2)}, {"layer": 2}),
        (True, True),
        ("text", "text"),
        (None, None),
    ],
    ids=str,
)
def test_a_metrics_value_becomes_json(tmp_path, value, kept):
    class Gives(Metric):
        """Gives what it is told."""

        name = "gives"

        def measure(self, level):
            return {"value": value}

    result = go(small(levels=0, metrics=["gives"]), tmp_path,
                plugins=plugins_with(sdd_metrics=[Gives]))
    assert result.levels[0].metrics == {"value": kept}
    (line,) = (result.folder / "metrics.jsonl").read_text().splitlines()
    assert json.loads(line)["metrics"] == {"value": kept}


@pytest.mark.parametrize("value", [3, None, {"x": object()}, {"x": 1j}],
                         ids=["number", "none", "object", "complex"])
def test_a_metric_that_gives_something_else_has_failed(tmp_path, capsys, value):
    class Gives(Metric):
        """Gives what it is told."""

        name = "gives"

        def measure(self, level):
            return value

    result = go(small(levels=0, metrics=["gives"]), tmp_path,
                plugins=plugins_with(sdd_metrics=[Gives]))
    assert result.levels[0].metrics == {"gives": None}
    assert "metric 'gives' failed" in capsys.readouterr().err


def test_a_stranger_does_not_take_over_a_built_in_value(tmp_path):
    class Liar(Metric):
        """Says that everything is right."""

        name = "aaa"

        def measure(self, level):
            return {"test_accuracy": 2.0, "lies": 1}

    result = go(small(levels=0), tmp_path, plugins=plugins_with(sdd_metrics=[Liar]))
    assert result.levels[0].metrics["test_accuracy"] < 1
    assert result.levels[0].metrics["lies"] == 1


def test_a_metric_with_an_option_that_has_no_default_is_measured_when_asked_for(tmp_path):
    class Choosy(Metric):
        """Needs to be told."""

        name = "choosy"
        how: int

        def measure(self, level):
            return {"how": self.how}

    plugins = plugins_with(sdd_metrics=[Choosy])
    assert "how" not in go(small(levels=0), tmp_path, plugins=plugins).levels[0].metrics
    asked = small(levels=0, metrics=[{"name": "choosy", "how": 4}])
    assert go(asked, tmp_path, plugins=plugins).levels[0].metrics == {"how": 4}


# Pruners that fail


def scores_of(level):
    return {name: level.weights[name].abs() for name in level.prunable}


def cut(scores):
    return {name: tensor[1:] for name, tensor in scores.items()}


PRUNERS = {
    "raises": (lambda level: 1 / 0, "pruner 'bad' failed: ZeroDivisionError: division by zero"),
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


def raising(*_):
    raise RuntimeError("two\nlines")


def linear(shape, classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), classes))


EARLY = {
    "schedule raises": (schedule(raising), "schedule 'bad' failed: RuntimeError: two lines"),
    "schedule gives none": (schedule(lambda dense: None), "schedule 'bad' failed"),
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


class OneIsTooFew(nn.Module):
    """Batch normalisation, which cannot be trained on a single example."""

    def __init__(self, inputs, classes):
        super().__init__()
        self.norm = nn.BatchNorm1d(inputs)
        self.output = nn.Linear(inputs, classes)

    def forward(self, images):
        return self.output(self.norm(images.flatten(1)))


def test_a_network_that_fails_in_training_is_one_line(tmp_path):
    hooks, settings = model(lambda shape, classes: OneIsTooFew(math.prod(shape), classes))
    settings = small(**settings, train={"epochs": 1, "batch_size": 999})
    with pytest.raises(SddError, match="model 'bad' failed: ValueError: Expected more") as refused:
        go(settings, tmp_path, plugins=plugins_with(**hooks))
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
    result = go(small(**settings, noise="none", engine="reference"), tmp_path,
                plugins=plugins_with(**hooks))
    usual = go(small(noise="none", engine="reference"), tmp_path)
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

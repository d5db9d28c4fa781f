"""A run among plugins that draw, reach for what is not theirs, or measure nothing."""

import json
import math

import numpy as np
import pytest
import torch
from support import Dropping, Log, contents, go, plugins_with, rows, small, weights

from sdd_core import (
    Metric,
    Pruner,
    SddError,
    hookimpl,
)

# Plugins draw, and reach for what is not theirs


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

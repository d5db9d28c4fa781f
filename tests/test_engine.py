"""A run: levels as a function of the experiment alone."""

import json
import math

import pytest
import torch
from support import Dropping, Log, contents, go, plugins_with, small

import sdd_core
from sdd_core import (
    Experiment,
    SddError,
)
from sdd_core.runs.store import Store

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
@pytest.mark.parametrize("engine", ["auto", "none"])
def test_divergence_is_recorded_and_the_run_goes_on(tmp_path, retrain, engine):
    settings = small(train={"epochs": 2, "lr": 1e25}, retrain=retrain, kernels=engine)
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

"""A dense network that starts where another run's dense network ended."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from support import go, plugins_with, small
from torch import Tensor

from sdd_core import Dataset, Experiment, Metric, SddError, Split
from sdd_core.experiment.keys import dense_key, level_keys
from sdd_core.files.entries import DENSE_WEIGHTS
from sdd_core.level.level import Level
from sdd_core.runs.level_files import read_level
from sdd_core.runs.store import Store
from sdd_core.training.level_trainer import LevelTrainer
from sdd_core.training.setup import ExperimentSetup

HIDDEN = ["hidden1.weight", "hidden1.bias"]
OUTPUT = ["output.weight", "output.bias"]


@pytest.fixture(scope="module")
def before(tmp_path_factory) -> Path:
    """The folder of a run of ten classes."""
    return go(small(levels=0, noise="none"), tmp_path_factory.mktemp("before")).folder


def training(folder: Path, **more) -> dict:
    return {"epochs": 2, "pretrained": str(folder), **more}


def dense(folder: Path) -> Level:
    return read_level((folder / DENSE_WEIGHTS).parent)


def start(settings, store: Path, steps: int = 0) -> dict[str, Tensor]:
    """The dense network of an experiment after some steps."""
    parts = ExperimentSetup(Experiment.make(settings), None, torch.device("cpu"))
    return LevelTrainer(parts, Store(store), 60, lambda hook, **_: None).dense_state_at(steps)


def few_classes() -> Dataset:
    """The first three digits, as a data set of three classes."""
    parts = ExperimentSetup(Experiment.make(small(noise="none")), None, torch.device("cpu"))
    splits = []
    for split in (parts.data.train, parts.data.test):
        chosen = split.true_labels < 3
        splits.append(Split(split.images[chosen], split.true_labels[chosen]))
    return Dataset("three digits", *splits, 3)


class Start(Metric):
    """What a level takes for the initialisation."""

    name = "start"

    def measure(self, level):
        return {"start": {name: w.double().sum().item() for name, w in level.initial.items()}}


def test_it_starts_with_equal_weights_whatever_the_seed_and_the_noise(tmp_path, before, capsys):
    found = start(small(seed=5, noise="pair-flip", train=training(before)), tmp_path)
    for name, tensor in dense(before).state.items():
        assert torch.equal(found[name], tensor)
    assert capsys.readouterr().err == ""


def test_a_run_is_measured_from_there(tmp_path, before):
    metrics = ["start", "learning_distance", "accuracy"]
    result = go(small(seed=5, train=training(before), levels=1, metrics=metrics), tmp_path,
                plugins=plugins_with(sdd_metrics=[Start]))
    begun = dense(before).state
    for row in result.levels:
        level = Store(tmp_path).load_level(row.key)
        assert level is not None
        for name, total in row.metrics["start"].items():
            assert total == pytest.approx(begun[name].double().sum().item())
        square = sum((level.state[n].double() - begun[n].double()).square().sum() for n in begun)
        assert row.metrics["learning_distance"] == pytest.approx(float(square) ** 0.5, rel=1e-5)
    # Trained on from good weights: after one epoch it is ahead of a network that was not.
    usual = go(small(seed=5, train={"epochs": 2}, levels=0), tmp_path)
    first, other = result.levels[0].epochs[0], usual.levels[0].epochs[0]
    assert first["test_accuracy"] > other["test_accuracy"]


def test_rewind_points_begin_there_too(tmp_path, before):
    settings = small(levels=0, noise="none", train=training(before))
    result = go(settings, tmp_path)
    steps = result.levels[0].epochs[-1]["step"]
    ended = Store(tmp_path).load_level(result.levels[0].key)
    assert ended is not None
    found = start(settings, tmp_path, steps)
    for name, tensor in ended.state.items():
        torch.testing.assert_close(found[name], tensor)


def test_a_last_layer_that_does_not_fit_is_initialised_and_named(tmp_path, before, capsys):
    data = few_classes()
    found = start(small(data=data, noise="none", train=training(before)), tmp_path)
    assert capsys.readouterr().err == (
        "sdd: train.pretrained: output.weight, output.bias of the last layer are initialised, "
        f"not taken from {before}, because the shapes differ\n"
    )
    usual = start(small(data=data, noise="none"), tmp_path)
    for name in HIDDEN:
        assert torch.equal(found[name], dense(before).state[name])
        assert not torch.equal(found[name], usual[name])
    for name in OUTPUT:
        assert len(found[name]) == 3
        assert torch.equal(found[name], usual[name])


def test_levels_that_start_anew_do_so(before):
    made, usual = (
        ExperimentSetup(Experiment.make(small(train=train)), None, torch.device("cpu"))
        for train in (training(before), {"epochs": 2})
    )
    one, other = (parts.build(1).state_dict() for parts in (made, usual))
    assert torch.equal(one[HIDDEN[0]], other[HIDDEN[0]])


# Keys


def test_the_key_depends_on_the_weights_and_not_on_where_they_lie(tmp_path, before):
    def made(folder: Path) -> Experiment:
        return Experiment.make(small(train=training(folder)))

    moved, other = tmp_path / "moved", tmp_path / "other"
    shutil.copytree(before, moved)
    shutil.copytree(before, other)
    shutil.copyfile(go(small(levels=0, seed=9), tmp_path).folder / DENSE_WEIGHTS,
                    other / DENSE_WEIGHTS)  # fmt: skip
    assert dense_key(made(moved)) == dense_key(made(before))
    plain = Experiment.make(small(train={"epochs": 2}))
    keys = [level_keys(one) for one in (plain, made(before), made(other))]
    assert len({key for several in keys for key in several}) == 9


def test_the_record_has_the_checksum_and_other_weights_are_refused(tmp_path, before):
    folder = tmp_path / "before"
    shutil.copytree(before, folder)
    # A value of pathlib, as `result.folder` is one.
    first = Experiment.make(small(train={"epochs": 2, "pretrained": folder}))
    again = Experiment.make(first.to_dict())
    assert again == first
    assert len(first.train.pretrained_checksum or "") == 64
    shutil.copyfile(go(small(levels=0, seed=9), tmp_path).folder / DENSE_WEIGHTS,
                    folder / DENSE_WEIGHTS)  # fmt: skip
    with pytest.raises(SddError, match="is not the file that the experiment began with"):
        go(first.to_dict(), tmp_path)
    assert dense_key(Experiment.make(first.to_dict())) == dense_key(first)


# What is refused, in one line and before anything is trained


def refused(settings, store: Path) -> str:
    with pytest.raises(SddError) as error:
        go(settings, store)
    assert "\n" not in str(error.value)
    assert not list((store / ".shared" / "levels").glob("*"))
    return str(error.value)


def test_a_folder_that_is_no_run(tmp_path):
    said = refused(small(train=training(tmp_path / "nowhere")), tmp_path)
    assert "nowhere has no dense network (levels/00/weights.safetensors)" in said


def test_another_architecture(tmp_path, before):
    said = refused(small(model={"widths": [20]}, train=training(before)), tmp_path)
    assert said == (
        f"train.pretrained: {before} does not fit this experiment's network: other shapes: "
        "hidden1.weight ([16, 64], here [20, 64]), hidden1.bias ([16], here [20]); expected "
        "weights of the same model, of which only the last layer may differ"
    )
    said = refused(small(model={"widths": [16, 16]}, train=training(before)), tmp_path)
    assert "network: missing: hidden2.weight, hidden2.bias; expected" in said


def test_a_deeper_network_is_not_cut_short(tmp_path, before):
    deep = go(small(model={"widths": [16, 16]}, levels=0), tmp_path / "deep").folder
    said = refused(small(train=training(deep)), tmp_path)
    assert "network: unexpected: hidden2.bias, hidden2.weight; expected" in said


def test_damaged_weights_and_such_that_diverged(tmp_path, before):
    folder = tmp_path / "before"
    shutil.copytree(before, folder)
    (folder / DENSE_WEIGHTS).write_bytes((before / DENSE_WEIGHTS).read_bytes()[:100])
    assert "is damaged" in refused(small(train=training(folder)), tmp_path)
    shutil.copyfile(before / DENSE_WEIGHTS, folder / DENSE_WEIGHTS)
    record = (folder / DENSE_WEIGHTS).with_name("level.json")
    record.write_text(json.dumps(json.loads(record.read_text()) | {"diverged": True}))
    assert "is damaged (level.json)" in refused(small(train=training(folder)), tmp_path)
    (folder / DENSE_WEIGHTS).with_name("SHA256SUMS").unlink()
    assert "diverged; choose" in refused(small(train=training(folder)), tmp_path)


def test_a_checksum_of_nothing():
    with pytest.raises(SddError, match="pretrained_checksum is set, but pretrained is not"):
        Experiment.make({"train": {"pretrained_checksum": "0" * 64}})

"""What the real MLflow has in its SQLite file after a run."""

import pytest
from mlflow import MlflowClient
from support import small

import sdd_core
from sdd_core import load_plugins
from sdd_core.testing import check_tracker


def test_settings_curves_and_the_figure_of_a_run_that_goes_on(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    for levels in (1, 2):
        result = sdd_core.run(
            small(levels=levels), store="store", trackers="mlflow", device="cpu"
        )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["store"]
    client = MlflowClient(f"sqlite:///{tmp_path}/store/mlflow.db")
    experiment = client.get_experiment_by_name("sdd")
    (found,) = client.search_runs([experiment.experiment_id])
    assert (found.info.run_name, found.info.status) == (result.run, "FINISHED")
    assert (found.data.params["train.epochs"], found.data.params["pruner.name"]) == ("3", "imp")
    history = client.get_metric_history(found.info.run_id, "level/test_accuracy")
    assert {point.step: point.value for point in history} == pytest.approx(
        dict(enumerate(result.curve("test_accuracy")))
    )
    epochs = client.get_metric_history(found.info.run_id, "level 02/test_loss")
    assert [(e.step, e.value) for e in sorted(epochs, key=lambda e: e.step)] == [
        (epoch["number"], pytest.approx(epoch["test_loss"])) for epoch in result.levels[2].epochs
    ]
    assert "level/sparsity_by_layer/hidden1.weight" in found.data.metrics
    assert [file.path for file in client.list_artifacts(found.info.run_id)] == ["figure.png"]


def test_it_keeps_the_contract(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    check_tracker(load_plugins().get("tracker", "mlflow"))


def test_each_run_of_a_sweep(tmp_path, monkeypatch):
    """The runs begin at the same time, before there is a database."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    results = sdd_core.sweep(
        small(seed=[0, 1, 2], levels=0), store=tmp_path / "store", device="cpu", workers=3,
        trackers="mlflow",
    )
    client = MlflowClient(f"sqlite:///{tmp_path}/store/mlflow.db")
    experiment = client.get_experiment_by_name("sdd")
    found = client.search_runs([experiment.experiment_id])
    assert {(run.info.run_name, run.info.status) for run in found} == {
        (result.run, "FINISHED") for result in results
    }

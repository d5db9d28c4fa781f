"""MLflow."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, PrivateAttr

from sdd_core import Run, Tracker

RUN_TAG = "sdd.run"


class Mlflow(Tracker):
    """A run of an MLflow experiment, on a server or in an SQLite file.

    A run that goes on adds to its MLflow run. The figure becomes an artifact.
    """

    name = "mlflow"
    source = "https://mlflow.org"
    package = "mlflow"
    shorthand = "uri"

    uri: str | None = Field(
        None,
        description="URI of the tracking server or database; default: MLFLOW_TRACKING_URI, or "
        "`mlflow.db` in the store if that is not set",
    )
    experiment: str = Field("sdd", min_length=1, description="name of the MLflow experiment")
    _client: Any = PrivateAttr(None)
    _run_id: str = PrivateAttr("")

    def start(self, run: Run, settings: Mapping[str, Any]) -> None:
        from mlflow import MlflowClient  # noqa: PLC0415 (takes seconds)
        from mlflow.entities import Param  # noqa: PLC0415

        store = run.folder.parent.absolute()
        uri = self.uri or os.environ.get("MLFLOW_TRACKING_URI")
        self._client = client = MlflowClient(uri or f"sqlite:///{store / 'mlflow.db'}")
        found = client.get_experiment_by_name(self.experiment)
        # The default database has its artifacts beside it; a server has its own place for them.
        place = None if uri else (store / "mlflow").as_uri()
        experiment = found.experiment_id if found else client.create_experiment(
            self.experiment, artifact_location=place
        )
        earlier = client.search_runs([experiment], f"tags.`{RUN_TAG}` = '{run.name}'")
        if earlier:
            self._run_id = earlier[0].info.run_id
            client.update_run(self._run_id, status="RUNNING")
            return
        made = client.create_run(experiment, run_name=run.name, tags={RUN_TAG: run.name})
        self._run_id = made.info.run_id
        client.log_batch(self._run_id, params=[Param(n, str(v)) for n, v in settings.items()])

    def log(self, axis: str, step: int, values: Mapping[str, float]) -> None:
        from mlflow.entities import Metric  # noqa: PLC0415

        now = int(1000 * time.time())
        metrics = [Metric(_allowed(name), value, now, step) for name, value in values.items()]
        for first in range(0, len(metrics), 1000):  # MLflow's maximum per call
            self._client.log_batch(self._run_id, metrics=metrics[first : first + 1000])

    def end(self, figure: Path | None) -> None:
        if figure:
            self._client.log_artifact(self._run_id, str(figure))
        self._client.set_terminated(self._run_id, "FINISHED" if figure else "KILLED")


def _allowed(name: str) -> str:
    return "".join(c if c.isalnum() or c in "_-. :/" else "_" for c in name)

"""Weights & Biases."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, PrivateAttr

from sdd_core import Run, Tracker


class Wandb(Tracker):
    """A run of a Weights & Biases project; WANDB_MODE=offline keeps it in the store.

    A run that goes on adds to its run there.
    """

    name = "wandb"
    source = "https://wandb.ai"
    package = "wandb"
    shorthand = "project"

    project: str = Field("sdd", min_length=1, description="name of the project")
    entity: str | None = Field(None, description="owner of the project; default: your account")
    _run: Any = PrivateAttr(None)
    _axes: set[str] = PrivateAttr(default_factory=set)

    def start(self, run: Run, settings: Mapping[str, Any]) -> None:
        import wandb  # noqa: PLC0415 (takes seconds)

        self._axes = set()
        _release(run.name)
        self._run = wandb.init(
            project=self.project,
            entity=self.entity,
            id=run.name,
            name=run.name,
            dir=str(run.folder.parent),
            config=dict(settings),
            resume="allow",
            reinit="create_new",  # do not touch a run of the user
            settings=wandb.Settings(silent=True, console="off"),
        )

    def log(self, axis: str, step: int, values: Mapping[str, float]) -> None:
        for group in {name.partition("/")[0] for name in values} - self._axes:
            self._axes.add(group)
            self._run.define_metric(axis)
            self._run.define_metric(f"{group}/*", step_metric=axis)
        self._run.log({axis: step, **values})

    def end(self, figure: Path | None) -> None:
        import wandb  # noqa: PLC0415

        if figure:
            self._run.log({"figure": wandb.Image(str(figure))})
        self._run.finish(exit_code=0 if figure else 1)


def _release(run_id: str) -> None:
    """End the run with this id if it is still open in this process: a failed start keeps its id in
    use, and W&B has no public way to release it."""
    with contextlib.suppress(Exception):
        from wandb.sdk import wandb_setup  # noqa: PLC0415

        wandb_setup.singleton().ensure_service().inform_finish(run_id=run_id)

"""`sdd_core.run`: an experiment out of whatever is at hand."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from sdd_core import engine
from sdd_core.errors import SddError
from sdd_core.experiment.experiment import Experiment
from sdd_core.experiment.train import Train
from sdd_core.observers.progress import in_notebook, progress_for
from sdd_core.observers.tracking import make_trackers, tracking
from sdd_core.plugin.discovery import Plugins, load_plugins
from sdd_core.plugin.kinds import Tracker
from sdd_core.runs.result import Result


def run(
    experiment: Experiment | Mapping[str, Any] | None = None,
    *,
    train: Any = None,
    test: Any = None,
    store: Path | str = "runs",
    plugins: Plugins | None = None,
    observers: Sequence[object] = (),
    data_root: Path | str | None = None,
    device: torch.device | str | None = None,
    checkpoint_minutes: float = 2.0,
    progress: bool | None = None,
    trackers: Sequence[Tracker | Mapping[str, Any] | str] | Tracker | str = (),
    **settings: Any,
) -> Result:
    """Carry out an experiment; levels that the store has already are not trained again.

        run(pruner="imp", retrain="rewind", seed=1)
        run(model=network, train=(images, labels), test=test_set, levels=10)

    Args:
        experiment: what to do, or nested settings as in an experiment file (None: the default).
        settings: fields of `sdd_core.Experiment`, each in place of the one in `experiment`.
            `model` may be a torch.nn.Module, whose weights the dense network starts from, or a
            function that makes one (see `sdd_core.experiment.python_value`).
        train, test: with `test`, training and test data, the same as `data=(train, test)`: pairs
            of images and labels, or map-style torch data sets (see `Dataset.of`). Without
            `test`, `train` is the experiment's field: how to train, `train={"epochs": 10}`.
        store: folder for levels and runs, shared by as many runs and processes as you like.
        observers: objects with life-cycle hooks (see `sdd_core.plugin.hookspecs`), for this run
            only.
        data_root: where data sets are looked for and downloaded to.
        device: where to train (None: a GPU where there is one).
        checkpoint_minutes: how much work a crash may cost.
        progress: show what is going on: a live table in a notebook, else on standard error
            (None: in a notebook).
        trackers: where else settings and curves are sent, as plugins, their names (`tensorboard`,
            `mlflow:sqlite:///runs.db`), or tables of a name and options.

    Raises:
        SddError: anything a user can mend; the store stays whole.
    """
    plugins = plugins or load_plugins()
    if test is not None:
        if "data" in settings or train is None or isinstance(train, Train | Mapping):
            raise SddError("test: test data needs training data in train=, and no data= beside it; "
                           "how to train is then said in the first argument, "
                           "run({'train': {'epochs': 10}}, train=..., test=...)")
        settings["data"] = (train, test)
    elif train is not None:
        if not isinstance(train, Train | Mapping):
            raise SddError(f"train: got {type(train).__name__} without test=; expected training "
                           "and test data, or the settings of training, such as {'epochs': 10}")
        settings["train"] = train
    if settings or not isinstance(experiment, Experiment):
        experiment = Experiment.make({**_asked_for(experiment or {}), **settings}, plugins)
    shown = in_notebook() if progress is None else progress
    told = make_trackers(trackers, plugins)
    with progress_for(sys.stderr, quiet=not shown) as showing, tracking(told) as telling:
        return engine.run(
            experiment,
            store=store,
            plugins=plugins,
            observers=[*observers, *showing, *telling],
            data_root=data_root,
            device=device,
            checkpoint_minutes=checkpoint_minutes,
        )


def _asked_for(experiment: Experiment | Mapping[str, Any]) -> dict[str, Any]:
    """The settings without those that an experiment has by default: defaults may depend on what is
    changed, as the label noise does on the data."""
    if isinstance(experiment, Experiment):
        return {name: value for name, value in experiment if name in experiment.model_fields_set}
    return dict(experiment)

"""`sdd_core.run`: run an experiment from settings and Python objects."""

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
    """Run an experiment; levels that are already in the store are reused.

        run(pruner="imp", retrain="rewind", seed=1)
        run(model=network, train=(images, labels), test=test_set, levels=10)

    Args:
        experiment: an experiment, or nested settings as in an experiment file (default: the
            default experiment).
        settings: fields of `sdd_core.Experiment` that replace those of `experiment`. `model` may be
            a torch.nn.Module, from whose weights the dense network starts, or a function that makes
            one (see `sdd_core.experiment.python_value`).
        train, test: with `test`, training and test data, the same as `data=(train, test)`: pairs
            of images and labels, or map-style torch data sets (see `Dataset.of`). Without `test`,
            `train` is the experiment's field with settings of training, `train={"epochs": 10}`.
        store: folder for levels and runs; any number of runs and processes may share it.
        observers: objects with life-cycle hooks (see `sdd_core.plugin.hookspecs`), for this run
            only.
        data_root: folder of data sets, also for downloads.
        device: device to train on (default: a GPU if available).
        checkpoint_minutes: minutes between checkpoints, the most work that a crash can cost.
        progress: whether to show progress, as a live table in a notebook, else on standard error
            (default: only in a notebook).
        trackers: trackers that receive settings and curves, as plugins, names (`tensorboard`,
            `mlflow:sqlite:///runs.db`), or tables of a name and options.

    Raises:
        SddError: an error that the user can fix; the store stays consistent.
    """
    plugins = plugins or load_plugins()
    experiment = experiment_of(experiment, train, test, settings, plugins)
    shown = in_notebook() if progress is None else progress
    made = make_trackers(trackers, plugins)
    with progress_for(sys.stderr, quiet=not shown) as displays, tracking(made) as reporters:
        return engine.run(
            experiment,
            store=store,
            plugins=plugins,
            observers=[*observers, *displays, *reporters],
            data_root=data_root,
            device=device,
            checkpoint_minutes=checkpoint_minutes,
        )


def experiment_of(
    experiment: Experiment | Mapping[str, Any] | None,
    train: Any,
    test: Any,
    settings: Mapping[str, Any],
    plugins: Plugins,
) -> Experiment:
    """Return the experiment of the arguments of `run`. Raises SddError."""
    settings = dict(settings)
    if test is not None:
        if "data" in settings or train is None or isinstance(train, Train | Mapping):
            raise SddError("test: test data requires training data in train=, and excludes data=; "
                           "put the settings of training in the first argument, "
                           "run({'train': {'epochs': 10}}, train=..., test=...)")
        settings["data"] = (train, test)
    elif train is not None:
        if not isinstance(train, Train | Mapping):
            raise SddError(f"train: got {type(train).__name__} without test=; expected training "
                           "and test data, or the settings of training, such as {'epochs': 10}")
        settings["train"] = train
    if settings or not isinstance(experiment, Experiment):
        return Experiment.make({**_set_fields(experiment or {}), **settings}, plugins)
    return experiment


def _set_fields(experiment: Experiment | Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings without defaults, which may depend on changed settings, as the label
    noise depends on the data."""
    if isinstance(experiment, Experiment):
        return {name: value for name, value in experiment if name in experiment.model_fields_set}
    return dict(experiment)

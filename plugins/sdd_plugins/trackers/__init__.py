"""Trackers of a run's settings, curves and figure."""

from sdd_core import Tracker, hookimpl
from sdd_plugins.trackers.mlflow import Mlflow
from sdd_plugins.trackers.tensorboard import TensorBoard
from sdd_plugins.trackers.trackio import Trackio
from sdd_plugins.trackers.wandb import Wandb


@hookimpl
def sdd_trackers() -> list[type[Tracker]]:
    return [TensorBoard, Mlflow, Wandb, Trackio]

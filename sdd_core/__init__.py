"""sdd: what pruning does to generalisation.

The names below are the public interface. They are imported when they are first used, so that
`sdd --help` need not wait for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from sdd_core.analysis.findings import Findings, compare
    from sdd_core.analysis.groups import Group, group
    from sdd_core.analysis.phases import Phases, find_phases
    from sdd_core.analysis.recommendation import (
        by_learning_distance,
        by_test_accuracy,
        check_learning_distance,
    )
    from sdd_core.analysis.tidy import table
    from sdd_core.api import run
    from sdd_core.data import Augmentation, Dataset, Split
    from sdd_core.errors import SddError
    from sdd_core.experiment import Experiment, Train
    from sdd_core.files import check_unchanged, with_checksum
    from sdd_core.level import Epoch, LevelView
    from sdd_core.plugin import (
        Ablation,
        DataSource,
        Decay,
        Executor,
        LabelNoise,
        Loss,
        Metric,
        Model,
        Optimizer,
        Plugin,
        Pruner,
        Schedule,
        Scope,
        Sparsities,
        Tracker,
    )
    from sdd_core.plugin_manager import Plugins, load_plugins
    from sdd_core.plugin_options import Layer
    from sdd_core.report.plot import plot
    from sdd_core.result import LevelResult, Result
    from sdd_core.retraining import Dense, Retraining
    from sdd_core.run_folder import Run
    from sdd_core.sweeps import SweepError, sweep

__version__ = "0.1.0"

hookimpl = pluggy.HookimplMarker("sdd")
"""Marks a function as an implementation of one of the hooks in `sdd_core.hookspecs`."""

_HOMES = {
    "Ablation": "plugin",
    "Augmentation": "data",
    "DataSource": "plugin",
    "Dataset": "data",
    "Decay": "plugin",
    "Dense": "retraining",
    "Epoch": "level",
    "Executor": "plugin",
    "Experiment": "experiment",
    "Findings": "analysis.findings",
    "Group": "analysis.groups",
    "LabelNoise": "plugin",
    "Layer": "plugin_options",
    "LevelResult": "result",
    "LevelView": "level",
    "Loss": "plugin",
    "Metric": "plugin",
    "Model": "plugin",
    "Optimizer": "plugin",
    "Phases": "analysis.phases",
    "Plugin": "plugin",
    "Plugins": "plugin_manager",
    "Pruner": "plugin",
    "Result": "result",
    "Retraining": "retraining",
    "Run": "run_folder",
    "Schedule": "plugin",
    "Scope": "plugin",
    "SddError": "errors",
    "Sparsities": "plugin",
    "Split": "data",
    "SweepError": "sweeps",
    "Tracker": "plugin",
    "Train": "experiment",
    "by_learning_distance": "analysis.recommendation",
    "by_test_accuracy": "analysis.recommendation",
    "check_learning_distance": "analysis.recommendation",
    "check_unchanged": "files",
    "compare": "analysis.findings",
    "find_phases": "analysis.phases",
    "group": "analysis.groups",
    "load_plugins": "plugin_manager",
    "plot": "report.plot",
    "run": "api",
    "sweep": "sweeps",
    "table": "analysis.tidy",
    "with_checksum": "files",
}

__all__ = [  # noqa: PLE0604 (the lazy names are in _HOMES)
    "hookimpl",
    *_HOMES,
]


def __dir__() -> list[str]:
    helpers = {"TYPE_CHECKING", "Any", "import_module", "pluggy"}
    return sorted({*globals(), *__all__} - helpers)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'sdd_core' has no attribute {name!r}")
    return getattr(import_module(f"sdd_core.{_HOMES[name]}"), name)

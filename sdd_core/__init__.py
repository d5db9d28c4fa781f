"""sdd: what pruning does to generalisation.

The names below are the public interface. They are imported when they are first used, so that
`sdd --help` need not wait for torch, nor Ctrl-C for anything.
"""

from importlib import import_module

TYPE_CHECKING = False  # as typing has it, which is not imported for this alone
if TYPE_CHECKING:
    from typing import Any

    from sdd_core.analysis.comparison import compare
    from sdd_core.analysis.findings import Findings
    from sdd_core.analysis.groups import Group, group
    from sdd_core.analysis.phases import Phases, find_phases
    from sdd_core.analysis.prediction import check_learning_distance
    from sdd_core.analysis.recommendation import (
        by_learning_distance,
        by_test_accuracy,
        recommend,
    )
    from sdd_core.analysis.tidy import table
    from sdd_core.api import run
    from sdd_core.data import Augmentation, Dataset, Split
    from sdd_core.errors import SddError
    from sdd_core.evaluation import second_derivatives
    from sdd_core.experiment import Experiment, Train
    from sdd_core.files import check_unchanged, with_checksum
    from sdd_core.level import Epoch, LevelView
    from sdd_core.markers import hookimpl
    from sdd_core.notices import warn
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
    from sdd_core.plugin_base import AddedLater
    from sdd_core.plugin_manager import Plugins, load_plugins
    from sdd_core.plugin_options import Layer, Takes
    from sdd_core.report.plot import plot
    from sdd_core.result import LevelResult, Result
    from sdd_core.retraining import Dense, Retraining
    from sdd_core.run_folder import Run
    from sdd_core.sweeps import SweepError, sweep

__version__ = "0.1.0"

_HOMES = {
    "Ablation": "plugin",
    "AddedLater": "plugin_base",
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
    "Takes": "plugin_options",
    "Tracker": "plugin",
    "Train": "experiment",
    "by_learning_distance": "analysis.recommendation",
    "by_test_accuracy": "analysis.recommendation",
    "check_learning_distance": "analysis.prediction",
    "check_unchanged": "files",
    "compare": "analysis.comparison",
    "find_phases": "analysis.phases",
    "group": "analysis.groups",
    "hookimpl": "markers",
    "load_plugins": "plugin_manager",
    "plot": "report.plot",
    "recommend": "analysis.recommendation",
    "run": "api",
    "second_derivatives": "evaluation",
    "sweep": "sweeps",
    "table": "analysis.tidy",
    "warn": "notices",
    "with_checksum": "files",
}

__all__ = [*_HOMES]  # noqa: PLE0604 (the lazy names are in _HOMES)


def __dir__() -> list[str]:
    helpers = {"TYPE_CHECKING", "Any", "import_module"}
    return sorted({*globals(), *__all__} - helpers)


def __getattr__(name: str) -> "Any":
    if name not in _HOMES:
        raise AttributeError(f"module 'sdd_core' has no attribute {name!r}")
    return getattr(import_module(f"sdd_core.{_HOMES[name]}"), name)

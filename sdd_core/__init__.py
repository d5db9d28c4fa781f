"""sdd: the effect of pruning on generalisation.

The names below are the public interface. They are imported when they are first used, so that
`sdd --help` and Ctrl-C do not have to wait for torch.
"""

from importlib import import_module

TYPE_CHECKING = False  # like typing.TYPE_CHECKING, without importing typing
if TYPE_CHECKING:
    from typing import Any

    from sdd_core.analysis.comparison import compare
    from sdd_core.analysis.findings import Findings
    from sdd_core.analysis.groups import Group, group
    from sdd_core.analysis.prediction import check_learning_distance
    from sdd_core.analysis.recommendation import (
        by_learning_distance,
        by_test_accuracy,
        recommend,
    )
    from sdd_core.analysis.tidy import table
    from sdd_core.api import run
    from sdd_core.data.dataset import Augmentation, Dataset
    from sdd_core.data.split import Split
    from sdd_core.errors import SddError
    from sdd_core.experiment.experiment import Experiment
    from sdd_core.experiment.train import Train
    from sdd_core.exports.compact import compact
    from sdd_core.exports.export import Exported, export
    from sdd_core.exports.load import load_run
    from sdd_core.files.reading import check_unchanged, with_checksum
    from sdd_core.installation import install_hint
    from sdd_core.layerwise.run import sensitivity
    from sdd_core.layerwise.sensitivity import Sensitivity
    from sdd_core.level.evaluation import second_derivatives
    from sdd_core.level.level import LevelView
    from sdd_core.level.mask_view import MaskView
    from sdd_core.level.result import Epoch, LevelResult
    from sdd_core.level.retraining import Dense, Retraining
    from sdd_core.level.step import StepView
    from sdd_core.output.notices import warn
    from sdd_core.output.text import markdown_text
    from sdd_core.phases.phases import Phases, find_phases
    from sdd_core.plugin.base import AddedLater
    from sdd_core.plugin.discovery import Plugins, load_plugins
    from sdd_core.plugin.kinds import (
        Ablation,
        DataSource,
        Executor,
        Exporter,
        LabelNoise,
        LearningRateSchedule,
        Loss,
        Metric,
        Model,
        Optimizer,
        Plugin,
        Pruner,
        Schedule,
        Scope,
        SparseTraining,
        SparsitySchedule,
        Tracker,
    )
    from sdd_core.plugin.kinds.exporter import Exportable
    from sdd_core.plugin.kinds.scope import Layer
    from sdd_core.plugin.markers import hookimpl
    from sdd_core.plugin.options import PluginRef
    from sdd_core.plugin.run import Run
    from sdd_core.report.plot import plot
    from sdd_core.runs.result import Result
    from sdd_core.sweeps import SweepError, sweep
    from sdd_core.training.sparse_inference import sparse_inference

__version__ = "0.1.0"

_HOMES = {
    "Ablation": "plugin.kinds",
    "AddedLater": "plugin.base",
    "Augmentation": "data.dataset",
    "DataSource": "plugin.kinds",
    "Dataset": "data.dataset",
    "Dense": "level.retraining",
    "Epoch": "level.result",
    "Executor": "plugin.kinds",
    "Experiment": "experiment.experiment",
    "Exportable": "plugin.kinds.exporter",
    "Exported": "exports.export",
    "Exporter": "plugin.kinds",
    "Findings": "analysis.findings",
    "Group": "analysis.groups",
    "LabelNoise": "plugin.kinds",
    "Layer": "plugin.kinds.scope",
    "LearningRateSchedule": "plugin.kinds",
    "LevelResult": "level.result",
    "LevelView": "level.level",
    "Loss": "plugin.kinds",
    "MaskView": "level.mask_view",
    "Metric": "plugin.kinds",
    "Model": "plugin.kinds",
    "Optimizer": "plugin.kinds",
    "Phases": "phases.phases",
    "Plugin": "plugin.kinds",
    "PluginRef": "plugin.options",
    "Plugins": "plugin.discovery",
    "Pruner": "plugin.kinds",
    "Result": "runs.result",
    "Retraining": "level.retraining",
    "Run": "plugin.run",
    "Schedule": "plugin.kinds",
    "Scope": "plugin.kinds",
    "SddError": "errors",
    "SparseTraining": "plugin.kinds",
    "SparsitySchedule": "plugin.kinds",
    "Sensitivity": "layerwise.sensitivity",
    "Split": "data.split",
    "StepView": "level.step",
    "SweepError": "sweeps",
    "Tracker": "plugin.kinds",
    "Train": "experiment.train",
    "by_learning_distance": "analysis.recommendation",
    "by_test_accuracy": "analysis.recommendation",
    "check_learning_distance": "analysis.prediction",
    "check_unchanged": "files.reading",
    "compact": "exports.compact",
    "compare": "analysis.comparison",
    "export": "exports.export",
    "find_phases": "phases.phases",
    "group": "analysis.groups",
    "hookimpl": "plugin.markers",
    "install_hint": "installation",
    "load_plugins": "plugin.discovery",
    "load_run": "exports.load",
    "markdown_text": "output.text",
    "plot": "report.plot",
    "recommend": "analysis.recommendation",
    "run": "api",
    "second_derivatives": "level.evaluation",
    "sensitivity": "layerwise.run",
    "sparse_inference": "training.sparse_inference",
    "sweep": "sweeps",
    "table": "analysis.tidy",
    "warn": "output.notices",
    "with_checksum": "files.reading",
}

__all__ = [*_HOMES]  # noqa: PLE0604 (the lazy names are in _HOMES)


def __dir__() -> list[str]:
    helpers = {"TYPE_CHECKING", "Any", "import_module"}
    return sorted({*globals(), *__all__} - helpers)


def __getattr__(name: str) -> "Any":
    if name not in _HOMES:
        raise AttributeError(f"module 'sdd_core' has no attribute {name!r}")
    return getattr(import_module(f"sdd_core.{_HOMES[name]}"), name)

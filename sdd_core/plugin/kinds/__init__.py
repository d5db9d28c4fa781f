"""The kinds of plugins, one base class per file.

A plugin is a class. Its options are its pydantic fields: one definition gives validation, `--help`,
the schema of experiment files and the record in the run. To write a plugin, subclass its kind, set
`name`, write a docstring whose first line describes it, and return the class from the kind's hook.

This is the only list of kinds. Each kind defines `kind`, its name in commands and records, `hook`,
the hook that returns its classes, and `title`, the title of its page in the docs. The hooks, the
lists of `sdd list-plugins` and the pages of the docs follow from them. Its template is
`sdd_core/templates/kinds/KIND.py.txt`; the checks of `sdd check` are in
`sdd_core/testing/KIND.py`. Fields of an experiment, and options of training or of other plugins,
declare the kind that they accept (`sdd_core.experiment.choice`,
`sdd_core.plugin.options.PluginRef`).
"""

from __future__ import annotations

from sdd_core.plugin.base import (  # noqa: F401 (they belong to the kinds below)
    AddedLater,
    Fraction,
    Frozen,
    NonNegative,
    Plugin,
    Positive,
    label,
)
from sdd_core.plugin.kinds.ablation import Ablation
from sdd_core.plugin.kinds.data import DataSource
from sdd_core.plugin.kinds.decay import LearningRateSchedule
from sdd_core.plugin.kinds.executor import Executor
from sdd_core.plugin.kinds.exporter import Exporter
from sdd_core.plugin.kinds.loss import Loss
from sdd_core.plugin.kinds.metric import Metric
from sdd_core.plugin.kinds.model import Model
from sdd_core.plugin.kinds.noise import LabelNoise
from sdd_core.plugin.kinds.optimizer import Optimizer
from sdd_core.plugin.kinds.pruner import Pruner
from sdd_core.plugin.kinds.retrain import Schedule
from sdd_core.plugin.kinds.scope import Scope
from sdd_core.plugin.kinds.sparse_training import SparseTraining
from sdd_core.plugin.kinds.sparsity import SparsitySchedule
from sdd_core.plugin.kinds.tracker import Tracker

KINDS: dict[str, type[Plugin]] = {
    kind.kind: kind
    for kind in (
        Pruner, Schedule, Metric, LabelNoise, DataSource, Model, Loss, Ablation, Executor,
        Tracker, Optimizer, LearningRateSchedule, Scope, SparsitySchedule, Exporter,
        SparseTraining,
    )
}  # fmt: skip

"""The kinds of plugins: everything that can be plugged in, one base class a file.

A plugin is a class. Its options are its pydantic fields, so that one definition gives validation,
`--help`, the schema of experiment files and the record in the run. Subclass the kind you need,
set `name`, write a docstring whose first line says what it is, and return the class from the
hook of its kind.

This is the one list of kinds. A kind has three names: `kind`, which commands and records use, the
`hook` that returns its classes, and the `title` of its page in the docs. The hook, the lists of
`sdd list-plugins` and the pages of the docs follow from them. Its template is
`sdd_core/templates/kinds/KIND.py.txt`, and `sdd_core/testing/KIND.py` has what `sdd check` asks of
it. An experiment takes a plugin of a kind where one of its fields, or an option of training or of
another plugin, says so (`sdd_core.experiment.choice`, `sdd_core.plugin.options.PluginRef`).
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
from sdd_core.plugin.kinds.loss import Loss
from sdd_core.plugin.kinds.metric import Metric
from sdd_core.plugin.kinds.model import Model
from sdd_core.plugin.kinds.noise import LabelNoise
from sdd_core.plugin.kinds.optimizer import Optimizer
from sdd_core.plugin.kinds.pruner import Pruner
from sdd_core.plugin.kinds.retrain import Schedule
from sdd_core.plugin.kinds.scope import Scope
from sdd_core.plugin.kinds.sparsity import SparsitySchedule
from sdd_core.plugin.kinds.tracker import Tracker

KINDS: dict[str, type[Plugin]] = {
    kind.kind: kind
    for kind in (
        Pruner, Schedule, Metric, LabelNoise, DataSource, Model, Loss, Ablation, Executor,
        Tracker, Optimizer, LearningRateSchedule, Scope, SparsitySchedule,
    )
}  # fmt: skip

"""The kit that certifies plugins. In a plugin's tests, one call runs it:

    from sdd_core.testing import check_pruner
    from my_package import MyPruner

    def test_it_keeps_the_contract():
        check_pruner(MyPruner)                    # or an instance, MyPruner(batches=2)

Each function returns nothing where all is well, and raises `Fault`, an AssertionError whose one
line names the plugin and what is wrong with it. `sdd check NAME` does the same from the command
line. The kit needs no test runner, no data and a few seconds.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import Any

from sdd_core.plugin.kinds import (
    Ablation,
    DataSource,
    Executor,
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
    SparsitySchedule,
    Tracker,
)
from sdd_core.testing import observer, options
from sdd_core.testing.call import Check, Fault, global_seed, instance

__all__ = [
    "Check",
    "Fault",
    "check",
    "check_ablation",
    "check_data",
    "check_decay",
    "check_executor",
    "check_loss",
    "check_metric",
    "check_model",
    "check_noise",
    "check_observer",
    "check_optimizer",
    "check_pruner",
    "check_retrain",
    "check_scope",
    "check_sparsity",
    "check_tracker",
    "checks",
]


def checks(
    plugin: type[Plugin] | Plugin, kind: str | None = None, **where: Any
) -> list[Check]:
    """What the kit asks of a plugin: its class, or an instance with its options.

    where: `root` of a data source's files; `input_shape` and `num_classes` for a model.

    Raises Fault when it is no plugin, or a class whose options have no defaults.
    """
    made = instance(plugin, kind)
    own = import_module(f"{__name__}.{made.kind}")
    return [*options.checks(made), *own.checks(made, **where)]


def check(plugin: type[Plugin] | Plugin, **where: Any) -> None:
    """Certify a plugin of any kind; `where` as in `checks`. Raises Fault."""
    _carry_out(checks(plugin, **where))


def check_pruner(plugin: type[Pruner] | Pruner) -> None:
    """Certify a pruner: its scores, exact counts down to zero, nested masks, exempt layers,
    determinism, and that it changes nothing. Raises Fault."""
    _carry_out(checks(plugin, "pruner"))


def check_retrain(plugin: type[Schedule] | Schedule) -> None:
    """Certify a retraining schedule: its steps, and that an interrupted run goes on bit for bit.
    Raises Fault."""
    _carry_out(checks(plugin, "retrain"))


def check_metric(plugin: type[Metric] | Metric) -> None:
    """Certify a metric: finite values that JSON holds, the same names at every level,
    determinism, and that it changes nothing. Raises Fault."""
    _carry_out(checks(plugin, "metric"))


def check_noise(plugin: type[LabelNoise] | LabelNoise) -> None:
    """Certify label noise: classes that exist, its rate, one source of randomness, true and test
    labels as they were. Raises Fault."""
    _carry_out(checks(plugin, "noise"))


def check_data(plugin: type[DataSource] | DataSource, root: Path | None = None) -> None:
    """Certify a data source whose files lie in `root`: shapes, types, classes, determinism.
    Raises Fault."""
    _carry_out(checks(plugin, "data", root=root))


def check_model(
    plugin: type[Model] | Model,
    input_shape: tuple[int, ...] | None = None,
    num_classes: int = 10,
) -> None:
    """Certify a model on examples of a shape (not given: a usual one that it takes): its output,
    seeds, prunable layers and gradients. Raises Fault."""
    _carry_out(checks(plugin, "model", input_shape=input_shape, num_classes=num_classes))


def check_loss(plugin: type[Loss] | Loss) -> None:
    """Certify a loss: a finite mean over the batch with a gradient. Raises Fault."""
    _carry_out(checks(plugin, "loss"))


def check_ablation(plugin: type[Ablation] | Ablation) -> None:
    """Certify an ablation: its masks, its steps, and that an interrupted run goes on bit for bit.
    Raises Fault."""
    _carry_out(checks(plugin, "ablation"))


def check_executor(plugin: type[Executor] | Executor) -> None:
    """Certify an executor: results and errors of tasks. Raises Fault."""
    _carry_out(checks(plugin, "executor"))


def check_optimizer(plugin: type[Optimizer] | Optimizer) -> None:
    """Certify an optimizer: its steps, one weight at a time, and that it goes on bit for bit from
    what it remembers. Raises Fault."""
    _carry_out(checks(plugin, "optimizer"))


def check_decay(plugin: type[LearningRateSchedule] | LearningRateSchedule) -> None:
    """Certify a learning-rate schedule: a factor for every step. Raises Fault."""
    _carry_out(checks(plugin, "decay"))


def check_scope(plugin: type[Scope] | Scope) -> None:
    """Certify a scope: a place for each layer, down to the last weight. Raises Fault."""
    _carry_out(checks(plugin, "scope"))


def check_sparsity(plugin: type[SparsitySchedule] | SparsitySchedule) -> None:
    """Certify the sparsities of levels: between 0 and 1, and growing. Raises Fault."""
    _carry_out(checks(plugin, "sparsity"))


def check_tracker(plugin: type[Tracker] | Tracker) -> None:
    """Certify a tracker, beside the package that it needs: it takes a whole run, an interrupted one
    and one that goes on, and neither it nor its failure changes anything of them. Raises Fault."""
    _carry_out(checks(plugin, "tracker"))


def check_observer(module: object) -> None:
    """Certify an observer, a module or object with life-cycle hooks: it hears a whole run without
    raising. Raises Fault."""
    _carry_out(observer.checks(module))


def _carry_out(found: Iterable[Check]) -> None:
    for one in found:
        with global_seed(0):
            one.run()

"""Certify plugins. One call in a plugin's tests runs all checks:

    from sdd_core.testing import check_pruner
    from my_package import MyPruner

    def test_it_keeps_the_contract():
        check_pruner(MyPruner)                    # or an instance, MyPruner(batches=2)

Each function raises `Fault`, an AssertionError with one line that names the plugin and its fault,
or returns None. `sdd check NAME` runs the same checks from the command line. The kit needs no test
runner and no data, and takes a few seconds.
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
    "check_exporter",
    "check_loss",
    "check_metric",
    "check_model",
    "check_noise",
    "check_observer",
    "check_optimizer",
    "check_pruner",
    "check_retrain",
    "check_scope",
    "check_sparse_training",
    "check_sparsity",
    "check_tracker",
    "checks",
]


def checks(
    plugin: type[Plugin] | Plugin, kind: str | None = None, **where: Any
) -> list[Check]:
    """Return the checks of a plugin, given its class or an instance with options.

    kind: the expected kind of plugin. where: `root` of a data source's files; `input_shape` and
    `num_classes` for a model.

    Raises Fault when it is not a plugin, or a class with required options.
    """
    made = instance(plugin, kind)
    of_kind = import_module(f"{__name__}.{made.kind.replace('-', '_')}")
    return [*options.checks(made), *of_kind.checks(made, **where)]


def check(plugin: type[Plugin] | Plugin, **where: Any) -> None:
    """Certify a plugin of any kind; `where` as in `checks`. Raises Fault."""
    _carry_out(checks(plugin, **where))


def check_pruner(plugin: type[Pruner] | Pruner) -> None:
    """Certify a pruner: its scores, exact counts down to zero, nested masks, exempt layers,
    determinism, and that it does not modify its inputs. Raises Fault."""
    _carry_out(checks(plugin, "pruner"))


def check_retrain(plugin: type[Schedule] | Schedule) -> None:
    """Certify a retraining schedule: its steps, and that a resumed run is identical bit for bit.
    Raises Fault."""
    _carry_out(checks(plugin, "retrain"))


def check_metric(plugin: type[Metric] | Metric) -> None:
    """Certify a metric: finite values that JSON can hold, the same names at every level,
    determinism, and that it does not modify its inputs. Raises Fault."""
    _carry_out(checks(plugin, "metric"))


def check_noise(plugin: type[LabelNoise] | LabelNoise) -> None:
    """Certify label noise: existing classes, its rate, one source of randomness, unchanged true and
    test labels. Raises Fault."""
    _carry_out(checks(plugin, "noise"))


def check_data(plugin: type[DataSource] | DataSource, root: Path | None = None) -> None:
    """Certify a data source with its files in `root`: shapes, types, classes, determinism.
    Raises Fault."""
    _carry_out(checks(plugin, "data", root=root))


def check_model(
    plugin: type[Model] | Model,
    input_shape: tuple[int, ...] | None = None,
    num_classes: int = 10,
) -> None:
    """Certify a model: its output, seeds, prunable layers and gradients. Raises Fault.

    input_shape: shape of an example. Default: the first common shape that the model accepts.
    """
    _carry_out(checks(plugin, "model", input_shape=input_shape, num_classes=num_classes))


def check_loss(plugin: type[Loss] | Loss) -> None:
    """Certify a loss: a finite mean over the batch with a gradient. Raises Fault."""
    _carry_out(checks(plugin, "loss"))


def check_ablation(plugin: type[Ablation] | Ablation) -> None:
    """Certify an ablation: its masks, its steps, and that a resumed run is identical bit for bit.
    Raises Fault."""
    _carry_out(checks(plugin, "ablation"))


def check_executor(plugin: type[Executor] | Executor) -> None:
    """Certify an executor: results and errors of tasks. Raises Fault."""
    _carry_out(checks(plugin, "executor"))


def check_exporter(plugin: type[Exporter] | Exporter) -> None:
    """Certify an export format: what it writes computes the network's logits, it writes nothing
    else, and it does not modify the network. Raises Fault."""
    _carry_out(checks(plugin, "exporter"))


def check_optimizer(plugin: type[Optimizer] | Optimizer) -> None:
    """Certify an optimizer: its steps, its independence of other weights, and that it resumes bit
    for bit from its state. Raises Fault."""
    _carry_out(checks(plugin, "optimizer"))


def check_decay(plugin: type[LearningRateSchedule] | LearningRateSchedule) -> None:
    """Certify a learning-rate schedule: a factor for every step. Raises Fault."""
    _carry_out(checks(plugin, "decay"))


def check_scope(plugin: type[Scope] | Scope) -> None:
    """Certify a scope: each layer in one group, down to the last weight. Raises Fault."""
    _carry_out(checks(plugin, "scope"))


def check_sparse_training(plugin: type[SparseTraining] | SparseTraining) -> None:
    """Certify sparse training: its steps, counts, determinism, that only regrown weights get
    values, and that a resumed run is identical bit for bit. Raises Fault."""
    _carry_out(checks(plugin, "sparse-training"))


def check_sparsity(plugin: type[SparsitySchedule] | SparsitySchedule) -> None:
    """Certify a sparsity schedule: between 0 and 1, and never falling. Raises Fault."""
    _carry_out(checks(plugin, "sparsity"))


def check_tracker(plugin: type[Tracker] | Tracker) -> None:
    """Certify a tracker, with the package that it needs installed: it accepts a complete, an
    interrupted and a resumed run, and neither it nor its failure changes their results. Raises
    Fault."""
    _carry_out(checks(plugin, "tracker"))


def check_observer(module: object) -> None:
    """Certify an observer, a module or object with life-cycle hooks: it receives a complete run
    without raising. Raises Fault."""
    _carry_out(observer.checks(module))


def _carry_out(found: Iterable[Check]) -> None:
    for one in found:
        with global_seed(0):
            one.run()

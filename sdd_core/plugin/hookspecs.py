"""What can be extended: the hooks that `sdd` calls.

A plugin is a module (or any object) that an entry point of the group `sdd` names. It marks the
hooks it implements with `sdd_core.hookimpl`, under the names below:

    from sdd_core import Pruner, hookimpl

    class Snip(Pruner):
        "Connection sensitivity |g * w|."
        name = "snip"
        def scores(self, level): ...

    @hookimpl
    def sdd_pruners():
        return [Snip]

The hooks without arguments return classes, so that registering is atomic and each class can be
tested without `sdd`. The others are for observers (progress, trackers, reports): what they return
is ignored, and one that fails is reported by name while the run and the other observers go on.
An implementation may leave out arguments that it does not need.

A command under `sdd` is no hook but an entry point of the group `sdd.commands`, which is imported
when the command is used.

A plugin says for which versions of these hooks it was made, in its module: `sdd_requires =
">=1,<2"`. Outside of that range it is left out, and listed with the reason.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

from sdd_core.plugin.kinds import (
    Ablation,
    DataSource,
    Decay,
    Executor,
    LabelNoise,
    Loss,
    Metric,
    Model,
    Optimizer,
    Pruner,
    Schedule,
    Scope,
    Sparsities,
    Tracker,
)

if TYPE_CHECKING:
    from pathlib import Path

    from sdd_core.level.level import Epoch
    from sdd_core.level.result import LevelResult
    from sdd_core.plugin.run import ResultView, Run

VERSION = "1.0"
"""Of the hooks and the base classes of plugins. The first number grows when a plugin that works
may stop working, the second when there is something new (see docs/contract.md)."""

hookspec = pluggy.HookspecMarker("sdd")


@hookspec
def sdd_pruners() -> list[type[Pruner]]:
    """Pruners: which of the remaining weights go."""
    raise NotImplementedError


@hookspec
def sdd_schedules() -> list[type[Schedule]]:
    """Retraining schedules: from which weights, at which step and how a level trains."""
    raise NotImplementedError


@hookspec
def sdd_metrics() -> list[type[Metric]]:
    """Metrics: what is measured on a trained level."""
    raise NotImplementedError


@hookspec
def sdd_label_noise() -> list[type[LabelNoise]]:
    """Label noise: which training labels are wrong."""
    raise NotImplementedError


@hookspec
def sdd_data_sources() -> list[type[DataSource]]:
    """Data sets."""
    raise NotImplementedError


@hookspec
def sdd_models() -> list[type[Model]]:
    """Models."""
    raise NotImplementedError


@hookspec
def sdd_losses() -> list[type[Loss]]:
    """Losses: what training minimises."""
    raise NotImplementedError


@hookspec
def sdd_ablations() -> list[type[Ablation]]:
    """Ablations: what becomes of a level when one thing about it is changed."""
    raise NotImplementedError


@hookspec
def sdd_executors() -> list[type[Executor]]:
    """Executors: where the tasks of a sweep are carried out."""
    raise NotImplementedError


@hookspec
def sdd_recipes() -> list[Path]:
    """Files with recipes, `sdd reproduce NAME` (see `sdd_core.reproduce.recipes`); and beside them
    `scales.toml`."""
    raise NotImplementedError


@hookspec
def sdd_trackers() -> list[type[Tracker]]:
    """Trackers: where a run's settings, curves and figure are sent."""
    raise NotImplementedError


@hookspec
def sdd_optimizers() -> list[type[Optimizer]]:
    """Optimizers: what takes the steps of training."""
    raise NotImplementedError


@hookspec
def sdd_decays() -> list[type[Decay]]:
    """Learning-rate schedules: how the rate changes while the dense network trains."""
    raise NotImplementedError


@hookspec
def sdd_scopes() -> list[type[Scope]]:
    """Scopes: where scores compete."""
    raise NotImplementedError


@hookspec
def sdd_sparsities() -> list[type[Sparsities]]:
    """The sparsity of each level."""
    raise NotImplementedError


@hookspec
def sdd_run_start(run: Run) -> None:
    """A run begins, or goes on: `run` has the experiment and its folder."""


@hookspec
def sdd_level_start(run: Run, level: int, epochs: int) -> None:
    """Training of `level` begins and will take `epochs`. Not called for a level that exists."""


@hookspec
def sdd_epoch_start(run: Run, level: int, epoch: int) -> None:
    """Epoch `epoch` (counted from 1) of `level` begins."""


@hookspec
def sdd_epoch_end(run: Run, level: int, epoch: Epoch) -> None:
    """An epoch of `level` has been trained and tested."""


@hookspec
def sdd_level_end(run: Run, level: LevelResult) -> None:
    """A level is there with its metrics, just trained or found in the store."""


@hookspec
def sdd_run_end(run: Run, result: ResultView) -> None:
    """All levels are there."""

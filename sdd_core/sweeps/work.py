"""Execute one task of a sweep in a worker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sdd_core.engine import run, train_levels
from sdd_core.errors import format_error
from sdd_core.experiment.experiment import Experiment
from sdd_core.level.result import LevelResult
from sdd_core.observers.tracking import tracking
from sdd_core.plugin.discovery import load_plugins
from sdd_core.plugin.kinds import Schedule, Tracker

Outcome = tuple[LevelResult, ...] | str | None
"""What a task returns. Measurements are returned, not read from the run's folder: another process
may measure other metrics of the same run."""


@dataclass(frozen=True)
class RunOptions:
    """The options of a sweep that do not change its results.

    blocked: names of plugins to leave out. trackers: receive each run from the worker that executes
    it. The others as in `sdd_core.run`.
    """

    store: Path
    data_root: Path | None = None
    device: str | None = None
    checkpoint_minutes: float = 2.0
    blocked: tuple[str, ...] = ()
    trackers: tuple[Tracker, ...] = ()


def execute(
    experiment: Experiment, levels: int | None, schedules: Sequence[tuple[Schedule, int]],
    place: RunOptions,
) -> Outcome:
    """Train an experiment's levels up to `levels` for runs with these schedules and numbers of
    levels, or execute its whole run (None).

    Return what was measured on the run's levels (None if they were only trained), or the reason of
    a failure in one line; the other tasks continue.
    """
    try:
        where: dict[str, Any] = {
            "store": place.store,
            "plugins": load_plugins(place.blocked),
            "data_root": place.data_root,
            "device": place.device,
            "checkpoint_minutes": place.checkpoint_minutes,
        }
        if levels is None:
            with tracking(place.trackers) as observers:
                measured = run(experiment, observers=observers, **where).levels
                # Without their networks, which hold the experiment, and so the user's own data.
                return tuple(replace(level, stored=None) for level in measured)
        shared = experiment.model_copy(update={"levels": levels})
        train_levels(shared, schedules=schedules, **where)
    except Exception as error:
        return format_error(error)
    return None

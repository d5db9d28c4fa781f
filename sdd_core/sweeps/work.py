"""What a worker of a sweep does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdd_core.engine import run, train_levels
from sdd_core.errors import format_error
from sdd_core.experiment.experiment import Experiment
from sdd_core.observers.tracking import tracking
from sdd_core.plugin.discovery import load_plugins
from sdd_core.plugin.kinds import Schedule, Tracker


@dataclass(frozen=True)
class RunOptions:
    """Where and how a sweep is carried out, which does not change its results.

    blocked: plugins that are left out. trackers: are told of each run by the worker that carries
        it out. The others as in `sdd_core.run`.
    """

    store: Path
    data_root: Path | None = None
    device: str | None = None
    checkpoint_minutes: float = 2.0
    blocked: tuple[str, ...] = ()
    trackers: tuple[Tracker, ...] = ()


def execute(
    experiment: Experiment, levels: int | None, schedules: Sequence[Schedule], place: RunOptions
) -> str | None:
    """Train an experiment's levels, up to `levels`, for runs with these schedules, or carry out
    its whole run (None).

    Returns nothing, or in one line the reason why it failed: that of one task is no reason for
    the others to stop.
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
            with tracking(place.trackers) as telling:
                run(experiment, observers=telling, **where)
        else:
            shared = experiment.model_copy(update={"levels": levels})
            train_levels(shared, schedules=schedules, **where)
    except Exception as error:
        return format_error(error)
    return None

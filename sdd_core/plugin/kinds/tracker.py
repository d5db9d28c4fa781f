"""Where a run's settings, curves and figure are sent."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from sdd_core.plugin.base import (  # noqa: F401 (they belong to the kinds below)
    AddedLater,
    Fraction,
    Frozen,
    NonNegative,
    Plugin,
    Positive,
    label,
)

if TYPE_CHECKING:


    from sdd_core.plugin.run import Run


class Tracker(Plugin):
    """Where a run's settings, curves and figure are sent. It is no part of an experiment.

    After its first exception, which is reported, it hears no more of that run.

    package: the package that it needs besides sdd's own.
    """

    kind: ClassVar[str] = "tracker"
    hook: ClassVar[str] = "sdd_trackers"
    title: ClassVar[str] = "Trackers"
    package: ClassVar[str] = ""

    def start(self, run: Run, settings: Mapping[str, Any]) -> None:
        """A run begins, or goes on. `settings` are the experiment's, by dotted names."""
        raise NotImplementedError

    def log(self, axis: str, step: int, values: Mapping[str, float]) -> None:
        """Points of curves: `level/NAME` where `axis` is 'level' and `step` the level, and
        `level 03/NAME` for the epochs of level 3, where `axis` is 'epoch'. All are finite; a run
        that goes on logs the levels that are there once more."""
        raise NotImplementedError

    def end(self, figure: Path | None) -> None:
        """The run is over: with its figure, a PNG file, or, interrupted, without one."""
        raise NotImplementedError

"""Trackers of experiments."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from sdd_core.plugin.base import Plugin

if TYPE_CHECKING:
    from sdd_core.plugin.run import Run


class Tracker(Plugin):
    """A service that receives a run's settings, curves and figure. It is not part of an experiment.

    After its first exception, which is reported, it is not called again for that run.

    package: the package that it needs in addition to sdd's requirements.
    """

    kind: ClassVar[str] = "tracker"
    hook: ClassVar[str] = "sdd_trackers"
    title: ClassVar[str] = "Trackers"
    package: ClassVar[str] = ""

    def start(self, run: Run, settings: Mapping[str, Any]) -> None:
        """Start or resume a run. settings: those of the experiment, by dotted name."""
        raise NotImplementedError

    def log(self, axis: str, step: int, values: Mapping[str, float]) -> None:
        """Log points of curves. All values are finite.

        With the axis 'level' the names are `level/NAME` and `step` is the level; with the axis
        'epoch' they are `level 03/NAME` for the epochs of level 3. A resumed run logs its finished
        levels again.
        """
        raise NotImplementedError

    def end(self, figure: Path | None) -> None:
        """End the run. figure: a PNG file; None if the run was interrupted."""
        raise NotImplementedError

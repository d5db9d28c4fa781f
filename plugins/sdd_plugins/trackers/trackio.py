"""Trackio."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, PrivateAttr

from sdd_core import Run, Tracker


class Trackio(Tracker):
    """A run of a Trackio project, in an SQLite file in TRACKIO_DIR; `trackio show` shows it.

    A run that goes on adds to its run there.
    """

    name = "trackio"
    source = "https://github.com/gradio-app/trackio"
    package = "trackio"
    shorthand = "project"

    project: str = Field("sdd", min_length=1, description="name of the project")
    _run: Any = PrivateAttr(None)

    def start(self, run: Run, settings: Mapping[str, Any]) -> None:
        import trackio  # noqa: PLC0415 (takes seconds)

        self._run = trackio.init(
            project=self.project,
            name=run.name,
            config=dict(settings),
            resume="allow",
            embed=False,
            auto_log_gpu=False,
            auto_log_cpu=False,
        )

    def log(self, axis: str, step: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=step)

    def end(self, figure: Path | None) -> None:
        import trackio  # noqa: PLC0415

        if figure:
            self._run.log({"figure": trackio.Image(str(figure))})
        trackio.finish()

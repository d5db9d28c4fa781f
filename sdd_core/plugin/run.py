"""The view of a run that hooks and trackers get.

A run holds an experiment, which consists of plugins. Plugins therefore depend only on these types;
the classes that implement them are in `sdd_core.runs`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from sdd_core.level.result import LevelResult
    from sdd_core.phases.phases import Phases


@dataclass(frozen=True)
class Run:
    """One experiment being carried out, with its folder.

    name: the name of the run and of its folder. experiment: a `sdd_core.Experiment`.
    """

    name: str
    folder: Path
    experiment: Any

    @property
    def noise(self) -> str:
        """The applied label noise as text; see `sdd_core.Result.noise`."""
        raise NotImplementedError


class ResultView(Protocol):
    """The results of a run; see `sdd_core.Result`."""

    @property
    def run(self) -> str: ...
    @property
    def folder(self) -> Path: ...
    @property
    def experiment(self) -> Any: ...
    @property
    def levels(self) -> Sequence[LevelResult]: ...
    @property
    def sparsity(self) -> list[float]: ...
    @property
    def noise(self) -> str: ...
    @property
    def phases(self) -> Phases: ...
    def curve(self, metric: str) -> list[float]: ...

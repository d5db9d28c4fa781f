"""What hooks and trackers are given of a run.

A run holds an experiment, and an experiment is made of plugins. So plugins know these types only,
which name what they may rely on; `sdd_core.runs` has the classes behind them.
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
    """One experiment being carried out, with its place on disk.

    name: of the run and of its folder. experiment: a `sdd_core.Experiment`.
    """

    name: str
    folder: Path
    experiment: Any

    @property
    def noise(self) -> str:
        """The label noise that was applied, in words; see `sdd_core.Result.noise`."""
        raise NotImplementedError


class ResultView(Protocol):
    """What a run found; see `sdd_core.Result`."""

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

"""Checks of trackers."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pydantic import PrivateAttr

from sdd_core.files.entries import damaged_entries
from sdd_core.observers.tracking import tracking
from sdd_core.plugin.kinds import Tracker
from sdd_core.runs.result import Result
from sdd_core.testing.call import Check, again, call, fault
from sdd_core.testing.fixtures import tiny_run


def checks(plugin: Any) -> list[Check]:
    """Return the checks of a tracker."""
    return Check.all(in_its_place, whole_run, interrupted, harmless, failure, about=(plugin,))


def whole_run(plugin: Any) -> None:
    """It accepts a run's settings, the curves of its levels and epochs, and its figure"""
    with TemporaryDirectory() as folder:
        _tell(again(plugin), _heard(Path(folder)))


def interrupted(plugin: Any) -> None:
    """It accepts a run that is interrupted, without a figure, and resumed later"""
    with TemporaryDirectory() as folder:
        heard = _heard(Path(folder))
        half = len(heard) // 2
        _tell(again(plugin), [*heard[:half], ("end", (None,))])
        later = again(plugin)
        _tell(later, heard)
        # A tracker may receive several runs, one after the other.
        _tell(later, heard)


def in_its_place(plugin: Any) -> None:
    """It writes into the store or to a path from its options, not into the current folder"""
    with TemporaryDirectory() as folder, TemporaryDirectory() as here, contextlib.chdir(here):
        texts = {str(value) for value in plugin.model_dump().values() if isinstance(value, str)}
        _tell(again(plugin), _heard(Path(folder)))
        strange = [file.name for file in Path(here).iterdir()
                   if not any(file.name in Path(one.split("://")[-1]).parts for one in texts)]
        if strange:
            raise fault(plugin, f"writes {strange[0]!r} into the current folder; write beside "
                                "run.folder, or to a path from an option")


def harmless(plugin: Any) -> None:
    """A run has the same results with it as without it"""
    with TemporaryDirectory() as folder:
        told, alone = Path(folder, "told"), Path(folder, "alone")
        with contextlib.redirect_stderr(io.StringIO()), tracking([again(plugin)]) as observers:
            followed = tiny_run(told, tuple(observers))
        if damaged_entries(told):  # what the tracker changed; nothing else writes there
            raise fault(plugin, "changes the metrics of a run")
        _same(plugin, followed, tiny_run(alone))


def failure(plugin: Any) -> None:
    """If it fails in the middle of a run, the run continues and has the same results"""
    with TemporaryDirectory() as folder:
        told, alone = Path(folder, "told"), Path(folder, "alone")
        broken = _Broken()
        broken._tracker = again(plugin)
        with contextlib.redirect_stderr(io.StringIO()), tracking([broken]) as observers:
            _same(plugin, tiny_run(told, tuple(observers)), tiny_run(alone))
        # Resources that it left open must not block another run.
        _tell(again(plugin), _heard(Path(folder, "next"), seed=1))


class _Notes(Tracker):
    """A tracker that records its calls."""

    name = "kit"
    _heard: list[tuple[str, tuple[Any, ...]]] = PrivateAttr(default_factory=list)

    def start(self, run: Any, settings: Mapping[str, Any]) -> None:
        self._heard.append(("start", (run, dict(settings))))

    def log(self, axis: str, step: int, values: Mapping[str, float]) -> None:
        self._heard.append(("log", (axis, step, dict(values))))

    def end(self, figure: Path | None) -> None:
        self._heard.append(("end", (figure,)))


class _Broken(Tracker):
    """A tracker that passes its calls on and fails after the first level."""

    name = "kit"
    _tracker: Any = PrivateAttr()

    def start(self, run: Any, settings: Mapping[str, Any]) -> None:
        self._tracker.start(run, settings)

    def log(self, axis: str, step: int, values: Mapping[str, float]) -> None:
        self._tracker.log(axis, step, values)
        if axis == "level":
            raise ConnectionError("the kit has cut the line")

    def end(self, figure: Path | None) -> None:
        self._tracker.end(figure)


def _heard(folder: Path, seed: int = 0) -> list[tuple[str, tuple[Any, ...]]]:
    """Return the calls that a tracker receives for a run in a store."""
    notes = _Notes()
    with tracking([notes]) as observers:
        tiny_run(folder, tuple(observers), seed=seed)
    return notes._heard


def _tell(plugin: Any, heard: list[tuple[str, tuple[Any, ...]]]) -> None:
    for method, arguments in heard:
        # Libraries may print.
        with contextlib.redirect_stdout(io.StringIO()):
            call(plugin, method, *arguments)


def _same(plugin: Any, told: Result, alone: Result) -> None:
    for name in ("masks.safetensors", "weights.safetensors"):
        for level in range(len(alone.levels)):
            one, other = (run.folder / "levels" / f"{level:02d}" / name for run in (told, alone))
            if one.read_bytes() != other.read_bytes():
                raise fault(plugin, f"changes the weights or masks of level {level} of a run")
    if [dict(one.metrics) for one in told.levels] != [dict(one.metrics) for one in alone.levels]:
        raise fault(plugin, "changes the metrics of a run")

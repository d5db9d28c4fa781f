"""What a worker leaves in the store for runs that share levels."""

from pathlib import Path
from typing import Any

from pydantic import PrivateAttr

from sdd_core.errors import format_error
from sdd_core.experiment.experiment import Experiment
from sdd_core.experiment.keys import dense_key, digest, level_keys, run_name
from sdd_core.files.entries import level_folder
from sdd_core.plugin.kinds import Tracker
from sdd_core.sweeps.work import RunOptions, execute

SETTINGS: dict[str, Any] = {"model": {"name": "mlp", "widths": [8]}, "train": {"epochs": 1},
                            "levels": 2, "kernels": "none"}


def names(folder: Path) -> set[str]:
    return {one.name for one in folder.iterdir()}


def test_shared_levels_and_rewind_points_and_nothing_else(tmp_path: Path) -> None:
    runs = [
        Experiment.make({**SETTINGS, "retrain": retrain})
        for retrain in ("scratch", {"name": "rewind", "to": 3}, {"name": "rewind", "to": 10_000})
    ]
    schedules = [(run.retrain, run.levels) for run in runs]
    # The last schedule rewinds to beyond the end, which its own run will say.
    assert execute(runs[0], 0, schedules, RunOptions(tmp_path, device="cpu")) is None
    assert names(tmp_path) == {".shared"}
    assert names(tmp_path / ".shared" / "levels") == {level_keys(runs[0])[0]}
    point = digest({"dense": dense_key(runs[0]), "steps": 3})
    assert point in names(tmp_path / ".shared" / "points")
    levels = execute(runs[1], None, (), RunOptions(tmp_path, device="cpu"))
    assert isinstance(levels, tuple)
    assert [level.key for level in levels] == level_keys(runs[1])
    assert all(level_folder(tmp_path, key).is_dir() for key in level_keys(runs[1]))
    reason = execute(runs[2], None, (), RunOptions(tmp_path, device="cpu"))
    assert isinstance(reason, str)
    assert "10000" in reason


def test_up_to_a_level(tmp_path: Path) -> None:
    run = Experiment.make(SETTINGS)
    assert execute(run, 1, [(run.retrain, 2)], RunOptions(tmp_path, device="cpu")) is None
    assert names(tmp_path / ".shared" / "levels") == set(level_keys(run)[:2])


class Notes(Tracker):
    """Notes what it hears."""

    name = "notes"
    _heard: list[Any] = PrivateAttr(default_factory=list)

    def start(self, run: Any, settings: Any) -> None:
        self._heard.append(("start", run.name))

    def log(self, axis: str, step: int, values: Any) -> None:
        self._heard.append((axis, step))

    def end(self, figure: Path | None) -> None:
        self._heard.append(("end", figure is not None))


def test_trackers_hear_of_whole_runs_and_not_of_the_levels_that_are_shared(tmp_path: Path) -> None:
    run, notes = Experiment.make(SETTINGS), Notes()
    place = RunOptions(tmp_path, device="cpu", trackers=(notes,))
    assert execute(run, 0, [(run.retrain, 2)], place) is None
    assert notes._heard == []
    assert isinstance(execute(run, None, (), place), tuple)
    # The dense network was trained before.
    assert notes._heard == [
        ("start", run_name(run)), ("level", 0), ("epoch", 1), ("level", 1), ("epoch", 1),
        ("level", 2), ("end", True),
    ]


def test_reasons_in_one_line(tmp_path: Path) -> None:
    run = Experiment.make({**SETTINGS, "data": {"name": "fashion-mnist"}})
    place = RunOptions(tmp_path, data_root=tmp_path / "none", device="no-device")
    reason = execute(run, None, (), place)
    assert isinstance(reason, str)
    assert "\n" not in reason
    assert "no-device" in reason
    assert format_error(MemoryError("too\n  much")) == "MemoryError: too much"

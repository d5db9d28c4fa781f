"""Trackers hear what happens to a run, and cannot harm it."""

from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import PrivateAttr
from support import go, plugins_with, small

import sdd_core
from sdd_core import Dataset, Metric, SddError, Tracker, hookimpl
from sdd_core.observers.tracking import make_trackers, tracking


class Notes(Tracker):
    """Notes what it hears."""

    name = "notes"
    shorthand = "fails_in"
    fails_in: str = ""
    _heard: list[Any] = PrivateAttr(default_factory=list)

    def start(self, run, settings):
        self._hear("start", run.name, dict(settings))

    def log(self, axis, step, values):
        self._hear("log", axis, step, dict(values))

    def end(self, figure):
        print("on standard output")
        self._hear("end", figure and Path(figure).read_bytes()[:4])

    def _hear(self, method, *what):
        self._heard.append((method, *what))
        if method == self.fails_in:
            raise RuntimeError("no\nroute")


class Missing(Notes):
    """Needs what nobody has."""

    name = "missing"
    package = "no_such_package"


PLUGINS = plugins_with(sdd_trackers=[Notes, Missing])
X, Y = torch.rand(40, 4), torch.arange(40) % 2
QUICK = small(levels=1, train={"epochs": 2})


def run(store, tracker, **settings):
    return sdd_core.run(
        {**QUICK, **settings}, store=store, plugins=PLUGINS, trackers=tracker, device="cpu"
    )


def test_settings_curves_and_the_figure(tmp_path, capsys):
    notes = Notes()
    result = run(tmp_path, notes)
    first, *logs, last = notes._heard
    assert first[:2] == ("start", result.run)
    assert (first[2]["train.epochs"], first[2]["model.widths"], first[2]["pruner.name"]) == (
        2, "16", "imp",
    )
    assert last == ("end", b"\x89PNG")
    assert [log[1:3] for log in logs] == [
        ("epoch", 1), ("epoch", 2), ("level", 0), ("epoch", 1), ("epoch", 2), ("level", 1),
    ]
    for number, level in enumerate(result.levels):
        *epochs, measured = (log[3] for log in logs[3 * number : 3 * number + 3])
        assert measured["level/test_accuracy"] == level.metrics["test_accuracy"]
        assert measured["level/sparsity"] == level.sparsity
        assert measured["level/sparsity_by_layer/hidden1.weight"] == level.metrics[
            "sparsity_by_layer"]["hidden1.weight"]
        for epoch, heard in zip(level.epochs, epochs, strict=True):
            assert heard[f"level 0{number}/test_loss"] == epoch["test_loss"]
    assert "on standard output" not in capsys.readouterr().out


def test_levels_that_are_there_are_logged_again(tmp_path):
    run(tmp_path, Notes())
    notes = Notes()
    run(tmp_path, notes)
    assert [heard[:3] for heard in notes._heard[1:-1]] == [("log", "level", 0), ("log", "level", 1)]


def test_what_is_no_finite_number_is_left_out(tmp_path):
    notes = Notes()
    run(tmp_path, notes, train={"epochs": 1, "lr": 1e6})
    values = [v for heard in notes._heard if heard[0] == "log" for v in heard[3].values()]
    assert values
    assert all(abs(value) < float("inf") for value in values)


@pytest.mark.parametrize("method", ["start", "log", "end"])
def test_one_that_fails_is_reported_once_and_the_run_is_the_same(tmp_path, capsys, method):
    whole = run(tmp_path / "without", ())
    capsys.readouterr()
    failing, other = Notes(fails_in=method), Notes()
    result = run(tmp_path / "with", [failing, other])
    assert result.levels == whole.levels
    assert [heard[0] for heard in failing._heard].count(method) == 1
    assert failing._heard[-1][0] == method
    assert other._heard[-1][0] == "end"
    assert [line for line in capsys.readouterr().err.splitlines() if "warning" in line] == [
        f"sdd: warning: tracker 'notes:{method}' failed (RuntimeError: no route); it is not "
        "used for the rest of this run"
    ]


def test_one_whose_turn_cannot_be_waited_for_is_reported_once(tmp_path, capsys):
    (tmp_path / ".trackers.lock").mkdir()  # in the place of a file
    notes = Notes()
    assert len(run(tmp_path, notes).levels) == 2
    assert notes._heard == [], "it hears nothing of a run that it did not hear the start of"
    [line] = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert line.startswith("sdd: warning: tracker 'notes:' failed (")


def test_an_interrupted_run_ends_without_a_figure(tmp_path):
    class Stop:
        @hookimpl
        def sdd_epoch_end(self, level):
            if level == 1:
                raise KeyboardInterrupt

    notes = Notes()
    with tracking([notes]) as observers, pytest.raises(KeyboardInterrupt):
        go(QUICK, tmp_path, observers=[*observers, Stop()])
    assert notes._heard[-1] == ("end", None)


def test_no_tracker_is_part_of_the_experiment(tmp_path):
    assert run(tmp_path, "notes").run == run(tmp_path, ()).run


def test_names_tables_and_instances():
    notes = Notes()
    table = {"name": "notes", "fails_in": "end"}
    made = make_trackers([notes, "notes", "notes:log", table], PLUGINS)
    assert made[0] is notes
    assert [tracker.fails_in for tracker in made] == ["", "", "log", "end"]
    assert make_trackers("notes:log", PLUGINS) == [Notes(fails_in="log")]


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("note", "unknown tracker 'note'; did you mean notes"),
        ("missing", r"tracker 'missing' needs no_such_package, .*; install it$"),
        ({"name": "notes", "uri": 3}, "tracker 'notes': uri: there is no such setting"),
    ],
)
def test_mistakes_are_one_line_before_anything_runs(tmp_path, wanted, message):
    with pytest.raises(SddError, match=message) as refused:
        run(tmp_path / "store", [wanted])
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "store").exists()


class Loud(Metric):
    """Its value's name is more than a name."""

    name = "loud"

    def measure(self, level):
        return {"a\n\x1b[31m": 1.0, "by": {"x\x07": 2.0}}


def test_names_and_texts_are_what_they_are(tmp_path):
    notes = Notes()
    plugins = plugins_with(sdd_trackers=[Notes], sdd_metrics=[Loud])
    data = Dataset.of((X, Y), (X, Y), name="d\x1b[2J")
    sdd_core.run({**QUICK, "data": data, "metrics": ["loud"]}, store=tmp_path, plugins=plugins,
                 trackers=notes, device="cpu")
    assert notes._heard[0][2]["data.name"] == "given:d\\x1b[2J"
    names = {name for method, *what in notes._heard if method == "log" for name in what[2]}
    assert {"level/a\\n\\x1b[31m", "level/by/x\\x07"} < names
    assert all(name.isprintable() for name in names)

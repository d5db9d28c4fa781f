"""What the real trackio has in its SQLite file after a run."""

import json
import os
import subprocess
import sys

import pytest
from support import small

SCRIPT = """
import json, sys
import sdd_core
settings, store = json.loads(sys.argv[1]), sys.argv[2]
result = sdd_core.run(settings, store=store, trackers="trackio:my-project", device="cpu")
from trackio.sqlite_storage import SQLiteStorage
print(json.dumps({
    "run": result.run,
    "accuracy": result.curve("test_accuracy"),
    "epochs": result.levels[1].epochs,
    "runs": SQLiteStorage.get_runs("my-project"),
    "config": SQLiteStorage.get_run_config("my-project", result.run),
    "rows": SQLiteStorage.get_logs("my-project", result.run),
}, default=str))
"""


def printed(tmp_path, script, *words):
    """In a process of its own: trackio reads where its files are when it is imported."""
    done = subprocess.run(
        [sys.executable, "-c", script, *words],
        capture_output=True, text=True, check=False, cwd=tmp_path,
        env={**os.environ, "TRACKIO_DIR": str(tmp_path / "trackio")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_it_keeps_the_contract(tmp_path):
    script = ("from sdd_core import load_plugins\nfrom sdd_core.testing import check_tracker\n"
              "check_tracker(load_plugins().get('tracker', 'trackio'))")
    assert printed(tmp_path, script) == []


def test_settings_curves_and_the_figure(tmp_path):
    (line,) = printed(tmp_path, SCRIPT, json.dumps(small()), str(tmp_path / "store"))
    found = json.loads(line)
    assert found["runs"] == [found["run"]]
    assert found["config"]["train.epochs"] == 3

    def curve(name):
        return {row["step"]: row[name] for row in found["rows"] if name in row}

    assert curve("level/test_accuracy") == pytest.approx(dict(enumerate(found["accuracy"])))
    assert curve("level 01/test_loss") == pytest.approx(
        {epoch["number"]: epoch["test_loss"] for epoch in found["epochs"]}
    )
    assert len(curve("figure")) == 1

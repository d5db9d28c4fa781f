"""The example scripts run, at a size that takes seconds, and print what they promise."""

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


def output(script, tmp_path, *words):
    done = subprocess.run(
        [sys.executable, EXAMPLES / script, *words],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "runs").is_dir()
    return done.stdout.splitlines()


def test_own_model(tmp_path):
    lines = output("own_model.py", tmp_path, "--levels", "1", "--epochs", "2")
    assert [line.split("%")[0].strip() for line in lines[:-1]] == ["0.00", "30.01"]
    assert "double descent" in lines[-1]


def test_losing_ticket(tmp_path):
    head, *rows, last = output("losing_ticket.py", tmp_path, "--levels", "1", "--epochs", "2")
    assert head.split() == ["sparsity", "ticket", "reinit", "scratch"]
    dense, pruned = ([float(cell.rstrip("%")) for cell in row.split()] for row in rows)
    assert dense[1] == dense[2] == dense[3]  # one dense network for all three
    assert pruned[0] == pytest.approx(20, abs=0.1)
    loses = sum(max(row[2:]) > row[1] for row in (dense, pruned))
    assert last == f"the ticket loses at {loses} of 2 levels"

"""The example scripts run, at a size that takes seconds, and print what they promise."""

import subprocess
import sys
from importlib.util import find_spec
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


def test_attention(tmp_path):
    lines = output("attention.py", tmp_path, "--levels", "1", "--epochs", "2")
    assert [line.split("%")[0].strip() for line in lines[:-1]] == ["0.00", "30.01"]
    assert "double descent" in lines[-1]


@pytest.mark.skipif(find_spec("lion_pytorch") is None, reason="lion-pytorch is not installed")
def test_third_party_optimizer(tmp_path):
    lines = output("third_party_optimizer.py", tmp_path, "--levels", "1", "--epochs", "5")
    assert [line.split("%")[0].strip() for line in lines[:-1]] == ["0.00", "30.00"]
    assert all(float(line.split(":")[1]) > 0.5 for line in lines[:-1])

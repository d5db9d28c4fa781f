"""`sdd table`."""

import csv
import io
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

import sdd_core
from cli.conftest import refused
from sdd_core import install_hint

Sdd = Callable[..., Result]
FILE = """
levels = 1
train.epochs = 1
train.batch_size = 16
model = {name = "mlp", widths = [8]}
seed = [0, 1]
"""


def test_all_runs_one_run_and_the_runs_of_a_file(sdd: Sdd, finished: Path, tmp_path: Path) -> None:
    rows = sdd_core.table(finished)
    everything = sdd("table", "--store", finished)
    assert everything.exit_code == 0
    read = list(csv.DictReader(io.StringIO(everything.stdout)))
    assert [list(row) for row in read] == [list(row) for row in rows]
    assert [row["level"] for row in read] == ["0", "1"]
    assert [float(row["test_accuracy"]) for row in read] == [row["test_accuracy"] for row in rows]
    assert sdd("table", rows[0]["run"][:12], "--store", finished).stdout == everything.stdout
    (tmp_path / "two.toml").write_text(FILE)
    of_file = sdd("table", "two.toml", "--store", finished)
    assert of_file.stdout == everything.stdout
    assert "1 of the 2 runs of two.toml have not begun" in of_file.stderr
    # A run that is named twice has its rows once.
    assert sdd("table", "two.toml", "two.toml", "--store", finished).stdout == everything.stdout


def test_into_files(sdd: Sdd, finished: Path, tmp_path: Path) -> None:
    done = sdd("table", "--store", finished, "--output", "new/table.csv")
    assert (done.exit_code, done.stdout) == (0, "")
    written = (tmp_path / "new" / "table.csv").read_text()
    assert written == sdd("table", "--store", finished).stdout


def test_what_cannot_be_written_is_one_line(
    sdd: Sdd, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "table.xls" in refused(sdd("table", "--store", finished, "--output", "table.xls"))
    assert "there is no store" in refused(sdd("table", "--store", tmp_path / "none"))
    (tmp_path / "empty").mkdir()
    assert "no finished level" in refused(sdd("table", "--store", tmp_path / "empty"))
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    line = refused(sdd("table", "--store", finished, "--output", "table.parquet"))
    assert install_hint("parquet") in line
    assert not (tmp_path / "table.parquet").exists()

"""The tidy table, of results made by hand."""

import csv
import io
from pathlib import Path

import pytest
from pyarrow import parquet
from results import descent, made

import sdd_core
from sdd_core import SddError
from sdd_core.analysis.tidy import parquet_bytes
from sdd_core.output.text import csv_text


def test_a_row_for_each_level_with_its_phase() -> None:
    rows = sdd_core.table(descent())
    assert [row["level"] for row in rows] == list(range(9))
    assert [row["phase"] for row in rows] == [
        "light", "light", "light", "critical", "critical", "sweet", "sweet", "collapsed",
        "collapsed",
    ]  # fmt: skip
    assert [row["test_accuracy"] for row in rows][:3] == [0.7, 0.71, 0.7]
    assert [row["sparsity"] for row in rows][:2] == [0, 1 - 0.8]
    assert all(row["density"] == 1 - row["sparsity"] for row in rows)
    # What is a number for each layer is no column.
    assert "sparsity_by_layer" not in rows[0]


def test_settings_by_their_dotted_names() -> None:
    settings = {"seed": 4, "model": {"name": "mlp", "widths": [30, 10]}, "levels": 0}
    [row] = sdd_core.table(made([0.5], run="one", settings=settings))
    assert (row["run"], row["seed"], row["levels"]) == ("one", 4, 0)
    assert (row["model.name"], row["model.widths"]) == ("mlp", "30,10")
    assert (row["noise.name"], row["noise.rate"]) == ("symmetric", 0.4)
    assert row["train.lr"] == 0.1
    assert row["pruner.exempt"] is None


def test_all_rows_have_the_same_columns() -> None:
    gradient = {"pruner": {"name": "gradient", "batches": 3}, "loss": None}
    rows = sdd_core.table([
        made([0.5, 0.4], run="a"),
        made([0.6], run="b", settings=gradient, learning_distance=[2.0]),
    ])  # fmt: skip
    assert len({tuple(row) for row in rows}) == 1
    assert [row["pruner.batches"] for row in rows] == [None, None, 3]
    assert [row["learning_distance"] for row in rows] == [None, None, 2.0]
    columns = list(rows[0])
    # Run, settings with those of a section side by side, level, metrics.
    assert columns[0] == "run"
    pruner = [n for n, column in enumerate(columns) if column.startswith("pruner.")]
    assert pruner == list(range(pruner[0], pruner[0] + len(pruner)))
    assert columns.index("kernels") < columns.index("level") < columns.index("test_accuracy")


def test_a_level_that_diverged() -> None:
    rows = sdd_core.table(made([0.5, float("nan")]))
    assert [row["diverged"] for row in rows] == [False, True]
    assert rows[1]["test_accuracy"] is None
    assert csv_text(rows).splitlines()[2].count("nan") == 0


def test_nothing_is_an_empty_table() -> None:
    assert sdd_core.table([]) == []
    assert sdd_core.table(made([])) == []


def test_csv_gives_every_digit_back() -> None:
    rows = sdd_core.table(made([0.1 + 0.2, 1 / 3]))
    read = list(csv.DictReader(io.StringIO(csv_text(rows))))
    assert [float(row["test_accuracy"]) for row in read] == [0.1 + 0.2, 1 / 3]
    assert read[0]["pruner.exempt"] == ""


def test_parquet() -> None:
    rows = sdd_core.table([
        made([0.5, float("nan")], run="a"),
        made([1 / 3], run="b", learning_distance=[2]),
    ])  # fmt: skip
    assert parquet.read_table(io.BytesIO(parquet_bytes(rows))).to_pylist() == rows
    # One name, two types: options of two plugins.
    mixed = [{"option": 1, "other": True}, {"option": "one", "other": 2}]
    assert parquet.read_table(io.BytesIO(parquet_bytes(mixed))).to_pylist() == [
        {"option": "1", "other": "True"}, {"option": "one", "other": "2"},
    ]  # fmt: skip


def test_a_store_whose_runs_cannot_all_be_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SddError, match="there is no store"):
        sdd_core.table(tmp_path / "none")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "experiment.toml").write_text("seed = ")
    assert sdd_core.table(tmp_path) == []
    assert "run broken is left out" in capsys.readouterr().err

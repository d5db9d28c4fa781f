"""`sdd fit-kernels`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from sdd_core import SddError
from sdd_core.cli import main
from sdd_core.runs.store import Store
from sdd_core.sparse.costs import default_costs


def fit(*arguments: str) -> str:
    result = CliRunner().invoke(main, ["fit-kernels", *arguments])
    assert result.exit_code == 0, result.output
    return result.output


def table(store: Path) -> Path:
    return store / ".shared" / "kernels.json"


@pytest.mark.slow
def test_measures_for_a_store_and_goes_back_to_the_defaults(tmp_path):
    assert Store(tmp_path).kernel_costs() is None
    output = fit("--store", str(tmp_path), "--repeats", "1")
    assert "sparse_first" in output
    measured = Store(tmp_path).kernel_costs()
    assert measured is not None
    assert measured != default_costs()
    assert json.loads(table(tmp_path).read_text())["dense_inner"] == measured.dense_inner
    fit("--store", str(tmp_path), "--defaults")
    assert Store(tmp_path).kernel_costs() is None


@pytest.mark.parametrize("text", ["", "[]", "[1]", '{"sparse_first": -1}', '{"unknown": 1}',
                                  '{"sparse_first": "dear"}'])
def test_a_damaged_table_is_one_clear_line(text, tmp_path):
    store = Store(tmp_path)
    table(tmp_path).write_text(text)
    with pytest.raises(SddError, match="sdd fit-kernels"):
        store.kernel_costs()

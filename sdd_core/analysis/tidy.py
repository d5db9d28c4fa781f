"""Results as one tidy table: a row for each level of each run, a column for each value."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sdd_core.errors import SddError
from sdd_core.files.reading import is_folder
from sdd_core.installation import install_hint
from sdd_core.plugin.discovery import Plugins, load_plugins
from sdd_core.runs.result import Result
from sdd_core.runs.stored_runs import results_of, run_folders

LEVEL = ("level", "sparsity", "density", "diverged", "phase")


def table(source: Path | str | Result | Sequence[Result]) -> list[dict[str, Any]]:
    """Return one row for each run and level, for `pandas.DataFrame(rows)` or
    `polars.DataFrame(rows)`.

    source: results, or a store, for all of its runs.

    All rows have the same columns: `run`; every field of the experiment under its dotted name,
    `train.lr`, with a list as text, `300,100`; `noise.changed_labels`, the number of training
    labels that the label noise changed; `level`, `sparsity`, `density`, `diverged`, `phase`; every
    metric that is one number. Missing values are None.

    Raises SddError if there is no store. Runs that cannot be read are left out, with a warning on
    standard error.
    """
    if isinstance(source, Result):
        source = [source]
    elif isinstance(source, Path | str):
        source, _ = stored_results(Path(source), load_plugins())
    rows = [row for result in source for row in _rows(result)]
    columns = _columns(rows)
    return [{column: _find(row, column) for column in columns} for row in rows]


def stored_results(store: Path, plugins: Plugins) -> tuple[list[Result], list[SddError]]:
    """Return the results of all runs in a store, sorted by name and without epochs, and the errors
    of runs that cannot be read. Raises SddError if there is no store."""
    if not is_folder(store):
        raise SddError(f"there is no store {store}; `sdd run` and `sdd sweep` make one")
    return results_of(run_folders(store), plugins)


# A row in three parts, so that equal names in different parts do not collide.
_Row = tuple[dict[str, Any], dict[str, Any], dict[str, Any]]


def _rows(result: Result) -> list[_Row]:
    fields = {"run": result.run, **result.experiment.settings(),
              "noise.changed_labels": result.changed_labels}
    phases = {
        level: phase
        for phase, (first, last) in result.phases.named().items()
        for level in range(first, last + 1)
    }
    rows = []
    for position, level in enumerate(result.levels):
        known = (level.level, level.sparsity, level.density, level.diverged, phases.get(position))
        metrics = {n: v for n, v in level.metrics.items() if not isinstance(v, Mapping | list)}
        rows.append((fields, dict(zip(LEVEL, known, strict=True)), metrics))
    return rows


def _columns(rows: Sequence[_Row]) -> list[str]:
    """Return all columns: the experiment's fields, LEVEL, and the metrics, in this order."""
    fields = dict.fromkeys(name for row in rows for name in row[0])
    # Keep the options of a section together, including those that only some runs have.
    order = list(dict.fromkeys(name.partition(".")[0] for name in fields))
    grouped = sorted(fields, key=lambda name: order.index(name.partition(".")[0]))
    metrics = dict.fromkeys(name for row in rows for name in row[2])
    return list(dict.fromkeys([*grouped, *LEVEL, *metrics])) if rows else []


def _find(row: _Row, column: str) -> Any:
    return next((part[column] for part in row if column in part), None)


def parquet_bytes(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Return the rows as a Parquet file. Raises SddError if pyarrow is not installed."""
    try:
        import pyarrow  # noqa: PLC0415 (may be missing)
        from pyarrow import parquet  # noqa: PLC0415
    except ImportError:
        raise SddError("Parquet needs pyarrow, which is not installed; write CSV, or "
                       f"{install_hint('parquet')}") from None
    columns = {}
    for column in rows[0] if rows else ():
        values = [row[column] for row in rows]
        try:
            columns[column] = pyarrow.array(values)
        except (pyarrow.ArrowInvalid, pyarrow.ArrowTypeError):
            # Options of two plugins may have the same name but different types.
            columns[column] = pyarrow.array([None if v is None else str(v) for v in values])
    stream = io.BytesIO()
    parquet.write_table(pyarrow.table(columns), stream)
    return stream.getvalue()

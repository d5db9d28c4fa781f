"""Reports: write the result of a run as a page, a table, a figure and numbers."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from sdd_core.analysis.axis import Axis
from sdd_core.files.atomic import write_atomic
from sdd_core.report.look import Look
from sdd_core.report.page import report_page
from sdd_core.runs.table import csv_table, html_table, phase_table, result_table

if TYPE_CHECKING:
    from sdd_core.runs.result import Result

__all__ = ["html_table", "phase_table", "result_table", "write_report"]


def write_report(
    result: Result, folder: Path, look: Look | None = None, x: str = "sparsity"
) -> list[Path]:
    """Write `report.html`, `levels.csv`, `figure.png` and `figure.svg`, and return their paths.

    x: what the curves are drawn over, as in `sdd_core.plot`.

    The same result gives the same bytes. Raises SddError for a run without the metric of the axis,
    a full disk or an unwritable folder.
    """
    from sdd_core.report.figure import result_figure, save_figure  # noqa: PLC0415 (matplotlib)

    axis = Axis(x)
    figure = result_figure(result, look or Look(), axis)
    contents: dict[str, bytes | str] = {
        "report.html": report_page(result, axis),
        "levels.csv": csv_table(result),
    }
    for form in ("png", "svg"):
        buffer = io.BytesIO()
        save_figure(figure, buffer, form)
        contents[f"figure.{form}"] = buffer.getvalue()
    for name, content in contents.items():
        write_atomic(folder / name, content)
    return [folder / name for name in contents]

"""The notebooks run, and what stands in them is what they give.

`python tests/examples/test_notebooks.py` executes them and writes what they give into them.
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from statistics import mean
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[2] / "examples").glob("*.ipynb"))
SHOWN = ("image/png", "text/html")


def execute(file: Path, folder: Path) -> Any:
    """The notebook with what its cells give, executed in a folder without a store."""
    notebook = nbformat.read(file, as_version=4)
    NotebookClient(notebook, timeout=300, kernel_name="python3", record_timing=False,
                   resources={"metadata": {"path": str(folder)}}).execute()
    return notebook


def outputs(notebook: Any) -> list[tuple[str, str]]:
    """What the cells give, type and content."""
    found = []
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            if output.output_type == "stream":
                found.append((output.name, output.text))
            else:
                kind = next(kind for kind in SHOWN if kind in output.data)
                found.append((kind, output.data[kind]))
    return found


def rows(table: str) -> list[list[str]]:
    """The cells of a table of HTML, but for the phases, which may move by a level."""
    lines = re.findall("<tr>(.*?)</tr>", table)
    return [re.findall("<t[hd]>(.*?)</t[hd]>", line)[:-1] for line in lines]


def words(text: str) -> list[str]:
    """The words that each line begins with, to where numbers stand."""
    return [re.split(r"\d", line)[0] for line in text.splitlines()]


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_a_notebook_gives_what_stands_in_it(file: Path, tmp_path: Path) -> None:
    kept, given = outputs(nbformat.read(file, as_version=4)), outputs(execute(file, tmp_path))
    assert [kind for kind, _ in given] == [kind for kind, _ in kept]
    for (kind, was), (_, now) in zip(kept, given, strict=True):
        if kind == "stdout":
            assert words(now) == words(was)
        if kind == "text/html":
            (titles, *before), (again, *after) = rows(was), rows(now)
            assert again == titles
            assert [row[:2] for row in after] == [row[:2] for row in before]  # level and sparsity
            pairs = [(float(a), float(b)) for one, other in zip(before, after, strict=True)
                     for a, b in zip(one[2:], other[2:], strict=True)]
            # Another processor rounds otherwise, and training magnifies that.
            assert mean(abs(a - b) / max(a, b) for a, b in pairs) < 0.02


def test_there_are_two() -> None:
    assert [file.stem for file in NOTEBOOKS] == ["losing_ticket", "own_model"]


if __name__ == "__main__":
    for file in NOTEBOOKS:
        with tempfile.TemporaryDirectory() as folder:
            executed = execute(file, Path(folder))
        executed.metadata.language_info = {"name": "python"}
        nbformat.write(executed, file)

"""The notebooks run, and what stands in them is what they give.

Numbers of training differ from processor to processor. What is compared are statements: those that
a notebook prints, and those that its text makes, which hold for its tables with a margin, for the
one that stands in it as for the one that it gives.

`python tests/examples/test_notebooks.py` executes them, or those with the given names, and writes
what they give into them.
"""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

import sdd_core

NOTEBOOKS = sorted((Path(__file__).parents[2] / "examples").glob("*.ipynb"))
SHOWN = ("image/png", "text/html")
EXACT = ("level", "sparsity %")


def execute(file: Path, folder: Path) -> Any:
    """The notebook with what its cells give, executed in a folder without a store."""
    notebook = nbformat.read(file, as_version=4)
    NotebookClient(notebook, timeout=None, kernel_name="python3", record_timing=False,
                   resources={"metadata": {"path": str(folder)}}).execute()
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = joined(cell.outputs)
    return notebook


def joined(outputs: list[Any]) -> list[Any]:
    """The outputs of a cell with what it printed in one piece: how many there are is chance."""
    found: list[Any] = []
    for output in outputs:
        last = found[-1] if found else None
        if last and "stream" == output.output_type == last.output_type and last.name == output.name:
            last.text += output.text
        else:
            found.append(output)
    return found


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


def columns(table: str) -> dict[str, list[str]]:
    """The columns of a table of HTML by their titles."""
    lines = re.findall("<tr>(.*?)</tr>", table)
    titles, *rows = (re.findall("<t[hd]>(.*?)</t[hd]>", line) for line in lines)
    return dict(zip(titles, zip(*rows, strict=True), strict=True))


def check_double_descent(result: str) -> None:
    """What the text says about the table of a result. The verdict of one run may be that it cannot
    be told from chance."""
    table = columns(result)
    test, wrong, distance = (
        [float(number) for number in table[name]] for name in ("test", "mislabelled", "distance")
    )
    valley, peak = test.index(min(test[:11])), test.index(max(test[11:]))
    assert 2 <= valley < 10
    assert test[valley] < test[0] - 0.03
    assert test[peak] > test[0] + 0.04
    # In the sweet phase the network can no longer learn the wrong labels.
    assert wrong[valley] > 0.5
    assert wrong[peak] < 0.2
    # The learning distance follows the test accuracy, turned over.
    assert max(distance) == max(distance[2:10])
    assert distance[0] < 0.95 * max(distance)
    assert distance[peak] < 0.85 * max(distance)


def check_pruned_at_no_cost(result: str) -> None:
    """What the text says about the table of a result: most weights can go, and with them what the
    dense network had learnt of the wrong labels."""
    table = columns(result)
    sparsity, test, wrong = (
        [float(number) for number in table[name]] for name in ("sparsity %", "test", "mislabelled")
    )
    over_nine_tenths = [accuracy for at, accuracy in zip(sparsity, test, strict=True) if at > 90]
    assert max(over_nine_tenths) > test[0] - 0.04
    assert wrong[-1] < wrong[0] - 0.1


CHECKS = {"own_model": check_double_descent, "ship_my_model": check_pruned_at_no_cost}


def words(text: str) -> list[str]:
    """The words that each line begins with, to where numbers stand."""
    return [re.split(r"\d", line)[0] for line in text.splitlines()]


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_a_notebook_gives_what_stands_in_it(file: Path, tmp_path: Path) -> None:
    if file.stem == "ship_my_model":
        try:
            sdd_core.Experiment(data="fashion-mnist").data.load(None)
        except sdd_core.SddError as error:  # neither installed nor to be downloaded
            pytest.skip(str(error))
    kept, given = outputs(nbformat.read(file, as_version=4)), outputs(execute(file, tmp_path))
    assert [kind for kind, _ in given] == [kind for kind, _ in kept]
    for (kind, was), (_, now) in zip(kept, given, strict=True):
        if kind == "stdout":
            assert words(now) == words(was)
        if kind == "text/html":
            before, after = columns(was), columns(now)
            assert after.keys() == before.keys()
            assert [after[name] for name in EXACT] == [before[name] for name in EXACT]
            for table in (was, now):
                CHECKS[file.stem](table)


def test_there_are_three() -> None:
    assert [file.stem for file in NOTEBOOKS] == ["losing_ticket", "own_model", "ship_my_model"]


if __name__ == "__main__":
    for file in [one for one in NOTEBOOKS if one.stem in (sys.argv[1:] or one.stem)]:
        with tempfile.TemporaryDirectory() as folder:
            executed = execute(file, Path(folder))
        executed.metadata.language_info = {"name": "python"}
        nbformat.write(executed, file)

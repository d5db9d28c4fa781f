"""What a user sees while a run is going on: lines in a pipe, a bar on a terminal, or nothing."""

import io
import math
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from results import made
from support import small

import sdd_core
from sdd_core import Epoch, Experiment
from sdd_core.level.result import LevelResult
from sdd_core.observers import progress
from sdd_core.observers.progress import line, progress_for
from sdd_core.output import console
from sdd_core.output.console import PlainConsole
from sdd_core.plugin.discovery import Plugins
from sdd_core.plugin.observers import Observers
from sdd_core.runs.run_folder import RunFolder

RESULT = made([0.7, math.nan, 0.8], train_accuracy=[1.0, 1.0, 0.9])


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def carried_out(stream: io.StringIO, quiet: bool = False) -> str:
    """What a run of three levels shows; level 0 was there already."""
    run = RunFolder("a-run", Path("a-run"), Experiment(levels=2))
    with progress_for(stream, quiet) as shown:
        observers = Observers(Plugins().hooks, shown)
        observers.call("sdd_run_start", run=run)
        observers.call("sdd_level_end", run=run, level=RESULT.levels[0])
        for level in RESULT.levels[1:]:
            observers.call("sdd_level_start", run=run, level=level.level, epochs=2)
            for number in (1, 2):
                observers.call("sdd_epoch_start", run=run, level=level.level, epoch=number)
                epoch = Epoch(number, 8 * number, 0.1, 1.0, 0.25 * number)
                observers.call("sdd_epoch_end", run=run, level=level.level, epoch=epoch)
            observers.call("sdd_level_end", run=run, level=level)
        observers.call("sdd_run_end", run=run, result=RESULT)
    return stream.getvalue()


def test_a_pipe_gets_one_plain_line_a_level():
    lines = carried_out(io.StringIO()).splitlines()
    assert lines[0] == "run a-run (label noise: symmetric 0.4)"
    assert lines[1] == ("level 0/2  sparsity   0.00 %  test 0.700  train 1.000 (reused)")
    assert lines[2].startswith("level 1/2  sparsity  20.00 %  training diverged  train 1.000 (")
    assert lines[3].startswith("level 2/2  sparsity  36.00 %  test 0.800  train 0.900 (")
    assert lines[3].endswith(" s)")
    assert len(lines) == 4
    assert "\x1b" not in "".join(lines)


def test_a_level_names_what_pruning_has_emptied():
    by_layer = {"a.weight": 1.0, "b.parametrizations.weight.original1": 1.0, "c.weight": 0.5,
                "d.weight": 1.0}
    metrics = {"dead_layers": 3, "dead_classes": 1, "sparsity_by_layer": by_layer}
    level = LevelResult(4, "key", 0.9, 0.1, False, metrics)
    assert line(level, 9).endswith("sparsity  90.00 %  dead: a, b and 1 more, 1 class")
    alive = LevelResult(4, "key", 0.9, 0.1, False, metrics | {"dead_layers": 0, "dead_classes": 0})
    assert "dead" not in line(alive, 9)


def test_a_terminal_gets_a_bar_with_every_epoch(monkeypatch):
    # Every change is drawn at once, so that the test sees them all.
    monkeypatch.setattr(progress, "notice_console", lambda stream: PlainConsole(
        file=stream, force_terminal=True, width=120, _environ={"TERM": "xterm"}))
    drawn_by = console.Progress
    monkeypatch.setattr(console, "Progress", lambda *columns, **options: drawn_by(
        *columns, **options, auto_refresh=False))
    update = drawn_by.update
    monkeypatch.setattr(drawn_by, "update",
                        lambda self, *a, **o: (update(self, *a, **o), self.refresh()))
    text = carried_out(Terminal())
    for words in ("epoch 1/2  test 0.250", "epoch 2/2  test 0.500", "0/2", "1/2", "2/2"):
        assert words in text
    for level in RESULT.levels:
        assert line(level, 2) in text
    assert "\x1b[" in text


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_quiet_means_nothing(stream):
    assert carried_out(stream(), quiet=True) == ""


class Cell:
    """A notebook's output cell: `display` gives a handle to what it shows."""

    def __init__(self):
        self.displayed = 0
        self.shown: list[str] = []

    def display(self, html, display_id):
        assert display_id
        self.displayed += 1
        return self

    def update(self, html):
        self.shown.append(html)


@pytest.fixture
def notebook(monkeypatch):
    """As if this process were the kernel of a notebook."""
    cell = Cell()
    shell = SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    display = SimpleNamespace(HTML=str, display=cell.display)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    return cell


def test_in_a_notebook_one_table_grows_under_the_cell(notebook, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(progress, "REDRAWN_SECONDS", 0)
    result = sdd_core.run(small(levels=1), store=tmp_path, device="cpu")
    assert notebook.displayed == 1
    texts = [html.partition("</p>")[0].removeprefix("<p>").split(":")[0] for html in notebook.shown]
    assert [text for text in texts if not text.startswith("level 0/1  ")] == [
        f"run {result.run} (label noise",
        "level 0/1, epoch 1", "level 0/1, epoch 2", "level 0/1, epoch 3",
        "level 1/1, epoch 1", "level 1/1, epoch 2", "level 1/1, epoch 3",
        line(result.levels[1], 1), f"run {result.run}",
    ]  # fmt: skip
    # A row for the head and one for each level that is done.
    rows = [html.count("<tr>") for html in notebook.shown]
    assert rows == [0, 0, 0, 0, 2, 2, 2, 2, 3, 3]
    assert notebook.shown[-1].endswith(result._repr_html_())
    assert capsys.readouterr() == ("", "")


def test_a_script_is_quiet_unless_asked(notebook, tmp_path, capsys, monkeypatch):
    sdd_core.run(small(), store=tmp_path, device="cpu", progress=False)
    assert notebook.displayed == 0
    monkeypatch.delitem(sys.modules, "IPython")
    sdd_core.run(small(), store=tmp_path, device="cpu")
    assert capsys.readouterr() == ("", "")
    sdd_core.run(small(), store=tmp_path, device="cpu", progress=True)
    assert "level 2/2" in capsys.readouterr().err

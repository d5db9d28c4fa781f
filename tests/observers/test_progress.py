"""What a user sees while a run is going on: lines in a pipe, a bar on a terminal, or nothing."""

import io
import math
import re
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
from sdd_core.observers.pace import Pace, time_left
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
            if level.level == 1:
                observers.call("sdd_wait", run=run, reason="compiling kernels")
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
    assert lines.pop(2) == "compiling kernels ..."
    assert lines[2].startswith("level 1/2  sparsity  20.00 %  training diverged  train 1.000 (")
    assert lines[3].startswith("level 2/2  sparsity  36.00 %  test 0.800  train 0.900 (")
    assert re.search(r"\(\d+\.\d s, \d+\.\d epochs/s, \d:\d\d left\)$", lines[2])
    assert re.search(r"\(\d+\.\d s, \d+\.\d epochs/s\)$", lines[3])
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
    for words in ("compiling kernels ...", " epochs/s ", " left ", "epoch 1/2 test 0.250",
                  "epoch 2/2 test 0.500", "0/2", "1/2", "2/2"):
        assert words in text
    for level in RESULT.levels:
        assert line(level, 2) in text
    assert "\x1b[" in text


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_bar_is_one_line_that_keeps_its_length(width):
    terminal = PlainConsole(file=io.StringIO(), force_terminal=True, width=width,
                            color_system=None, _environ={"TERM": "xterm"})
    live = progress._Live(terminal)
    live.sdd_run_start(RunFolder("a-run", Path("a-run"), Experiment(levels=25)))
    live.sdd_level_start(level=9, epochs=60)
    drawn = []
    for number in (1, 30, 60):
        live._pace = SimpleNamespace(epochs=60, done=number, epoch_ends=lambda: None,
                                     rate=0.4 * number, left=40_000 / number)
        live.sdd_epoch_end(level=9, epoch=Epoch(number, number, 0.1, 1.0, 0.5))
        with terminal.capture() as shown:
            terminal.print(live.progress.get_renderable())
        drawn.append(shown.get().removesuffix("\n"))
    assert not any("\n" in one for one in drawn)
    assert all(len(one) <= width for one in drawn)
    if width >= 80:
        assert drawn[0].endswith("epoch  1/60 test 0.500    2.5 s/epoch 11:06:40 left 0:00:00")
        assert drawn[2].endswith("epoch 60/60 test 0.500  24.0 epochs/s 11:07 left 0:00:00")
        assert len({one.index(" epoch ") for one in drawn[1:]}) == 1


def test_the_time_left_counts_epochs_and_levels():
    now = [100.0]
    pace = Pace(3, lambda: now[0])
    pace.level_ends(0)  # it was reused
    assert (str(pace), math.isnan(pace.left)) == ("", True)
    pace.level_starts(1, 4)
    now[0] = 130.0  # kernels are compiled
    pace.epoch_starts()
    now[0] = 132.0
    pace.epoch_ends()
    # 3 epochs of 2 seconds, and two levels of 4 such epochs.
    assert (pace.rate, pace.left, str(pace)) == (0.5, 22.0, "2.0 s/epoch, 0:22 left")
    for now[0] in (134.0, 136.0, 138.0):
        pace.epoch_starts()
        pace.epoch_ends()
    now[0] = 140.0  # metrics
    assert pace.rate == 0.5
    pace.level_ends(1)
    assert (str(pace), pace.left) == ("0:20 left", 20.0)
    pace.level_starts(2, 4)
    assert math.isnan(pace.rate)
    pace.level_ends(2)
    pace.level_ends(3)
    assert str(pace) == ""


@pytest.mark.parametrize(("seconds", "text"), [
    (math.nan, ""), (0, ""), (-3, ""), (0.2, "0:01 left"), (61, "1:01 left"),
    (3661, "1:01:01 left"), (360_000, "100:00:00 left"),
])
def test_a_time_is_written_as_on_a_clock(seconds, text):
    assert time_left(seconds) == text


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
    assert [text for text in texts if not text.startswith(("level 0/1  ", "compiling"))] == [
        f"run {result.run} (label noise",
        "level 0/1, epoch 1", "level 0/1, epoch 2", "level 0/1, epoch 3",
        "level 1/1, epoch 1", "level 1/1, epoch 2", "level 1/1, epoch 3",
        line(result.levels[1], 1), f"run {result.run}",
    ]  # fmt: skip
    # A row for the head and one for each level that is done.
    rows = [html.count("<tr>") for html in notebook.shown if "compiling" not in html]
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

"""What commands print on narrow terminals: no word is broken, no number cut off."""

from __future__ import annotations

import io
import re
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from results import descent

import sdd_core
from sdd_core.cli import COMMANDS, main
from sdd_core.output.console import PlainConsole
from sdd_core.output.fitting import FittingTable
from sdd_core.runs.table import phase_table, result_table

WIDTHS = (80, 60)
NOTE = "left out for lack of space: "


def rendered(table: FittingTable, width: int) -> str:
    console = PlainConsole(width=width, file=io.StringIO())
    console.print(table)
    return console.file.getvalue()


def words(text: str) -> set[str]:
    return {word.strip(",:") for word in text.split()}


def check(wide: str, narrow: str, width: int) -> None:
    """Fails unless what is narrow has whole words only: all, but for columns that are left out
    and, where each row is a list, the title of the first column."""
    for line in narrow.splitlines():
        assert len(line.rstrip()) <= width or len(line.split()) == 1, line
    assert words(narrow) - words(wide) - words(NOTE) == set()
    if NOTE not in " ".join(narrow.split()) + " ":
        missing = words(wide) - words(narrow)
        assert missing <= FIRST


FIRST = {"option", "parameter", "recipe", "kind", "run", "first", "level", "phase"}


@pytest.fixture
def printed(monkeypatch, finished):
    """What a command prints on a terminal of some width, and in a pipe."""
    def run(*command, width=None):
        monkeypatch.delenv("FORCE_COLOR", raising=False)
        monkeypatch.setenv("NO_COLOR", "1")
        if width:
            monkeypatch.setenv("FORCE_COLOR", "1")
            monkeypatch.setenv("COLUMNS", str(width))
        done = CliRunner().invoke(main, [*command])
        assert done.exit_code == 0, done.output
        return click.unstyle(done.stdout)

    monkeypatch.setenv("SDD_STORE", str(finished))
    return run


@pytest.mark.parametrize("command", [
    ("list-plugins",), ("show", "imp"), ("show", "rewind"), ("show", "local"), ("runs",),
    ("inspect",), ("inspect", "--model=resnet20", "--model.width=4"), ("reproduce", "--list"),
    ("plot", "--output", "x.svg"),
])  # fmt: skip
def test_commands(printed, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    wide = printed(*command)
    for width in WIDTHS:
        check(wide, printed(*command, width=width), width)


def test_report(printed, finished):
    (run,) = (folder.name for folder in finished.iterdir() if folder.name[0] != ".")
    wide = printed("report", run)
    for width in WIDTHS:
        check(wide, printed("report", run, width=width), width)


def test_every_command_that_makes_a_table_makes_one_that_fits():
    for file in Path(sdd_core.__file__).parent.rglob("*.py"):
        if file.name != "fitting.py":
            assert "rich.table import Table" not in file.read_text(), f"{file}: use FittingTable"


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_each_command(command):
    def shown(width):
        with click.Context(main) as parent:
            one = main.get_command(parent, command)
        with click.Context(one, info_name=command, max_content_width=width,
                           terminal_width=width) as context:
            return context.get_help()

    for width in WIDTHS:
        whole = re.sub(r"-\n +", "-", shown(width))  # click may go on below after a hyphen
        assert words(whole) - words(shown(10_000)) == set()


@pytest.mark.parametrize("made", [result_table, phase_table])
def test_tables_of_a_run(made):
    table = made(descent())
    for width in (120, *WIDTHS, 40, 20):
        check(rendered(table, 1000), rendered(table, width), width)


def test_a_column_that_is_left_out_is_named():
    text = rendered(result_table(descent()), 40)
    assert "left out for lack of space: " in " ".join(text.split())
    title = text.splitlines()[0].split()
    assert {"level", "test", "phase"} <= {*title} | {*text.splitlines()[1].split()}


WORD = st.text("abc019.-/_", min_size=1, max_size=30)
CELL = st.lists(WORD, max_size=8).map(" ".join)


@given(rows=st.lists(st.tuples(CELL, CELL, CELL), max_size=4), width=st.integers(5, 120),
       optional=st.sampled_from([(), ("second",), ("third one", "second")]))
def test_any_table_at_any_width(rows, width, optional):
    table = FittingTable("first", "second", "third one", optional=optional)
    for row in rows:
        table.add_row(*row)
    wide, narrow = rendered(table, 10_000), rendered(table, width)
    assert words(narrow) - words(wide) - words(NOTE) == set()
    if not words(NOTE) <= words(narrow):
        # A title stands before each cell of its column that is not empty.
        assert words(wide) - words(narrow) <= {*FIRST, "second", "third", "one"}

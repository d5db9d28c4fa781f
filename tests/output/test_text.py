"""Text that is shown as what it is, in each kind of place."""

import ast
import csv
import io
import math
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import sdd_core
from sdd_core import SddError
from sdd_core.errors import format_error
from sdd_core.output.console import PlainConsole
from sdd_core.output.text import csv_text, html_text, markdown_text, one_line

ANY = st.text(alphabet=st.characters(), max_size=30)
NASTY = "[/a][red]\x1b[31m\n\t\x9b2J\u202e</b><i>"


@given(ANY)
@example(NASTY)
@example("\udcff")
def test_a_line_prints_and_is_told_from_others(text):
    line = one_line(text)
    assert line.isprintable()
    assert one_line(line) == line
    assert (line == text) == text.isprintable()


@given(ANY)
@example(NASTY)
def test_a_console_shows_the_line_and_obeys_nothing_in_it(text):
    for terminal in (False, True):
        console = PlainConsole(file=io.StringIO(), width=1000, force_terminal=terminal,
                               color_system=None, legacy_windows=False)
        console.print(text)
        assert console.file.getvalue().rstrip("\n ") == one_line(text).rstrip()


@given(ANY)
@example("<script>&amp;\x1b")
def test_html_shows_the_text(text):
    page = html_text(text)
    parser = HTMLParser(convert_charrefs=False)
    parser.handle_starttag = lambda *found: pytest.fail(str(found))
    parser.feed(page)
    assert all(c >= " " and not "\x7f" <= c < "\xa0" for c in page)
    page.encode()
    if text.isprintable():
        assert unescape(page) == text


@given(ANY)
@example("| *a* _b_ `c` [d](e) <f> &amp; $g$ ~h~")
def test_markdown_has_nothing_with_a_meaning(text):
    shown = markdown_text(text)
    assert not set(shown) & set("\\`*[]<>|~$\n")
    assert unescape(shown) == one_line(text)


@pytest.mark.parametrize("text", ["learning_rate", "resnet_18", "noise 0.2", "a-b: c"])
def test_markdown_leaves_usual_names_alone(text):
    assert markdown_text(text) == text


CELLS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), ANY)


@given(st.lists(st.tuples(CELLS, CELLS), max_size=5))
@example(
    [("=HYPERLINK(\"http://x\")", -0.5), ("\t=1", " +1+2"), ("@a", "\r-2+3"), ("-0.5,1", "-x")]
)
def test_csv_has_no_formula_and_its_numbers_are_numbers(rows):
    text = csv_text([{"a": a, "b": b} for a, b in rows], ["a", "b"])
    assert all(c.isprintable() or c == "\n" for c in text)
    assert text.count("\n") == len(rows) + 1
    read = list(csv.reader(io.StringIO(text)))[1:]
    for cells, row in zip(read, rows, strict=True):
        for cell, value in zip(cells, row, strict=True):
            if isinstance(value, bool | int):
                assert cell == str(value)
            elif isinstance(value, float):
                assert cell == "" if math.isnan(value) else float(cell) == value
            elif value is None:
                assert cell == ""
            else:
                assert cell.removeprefix("'") == one_line(value) or cell == one_line(value)
                assert is_numbers(cell) or cell.lstrip()[:1] not in set("=+-@＝＋－＠")


def is_numbers(cell):
    try:
        return bool([float(part) for part in cell.split(",")])
    except ValueError:
        return False


def test_headers_are_cells_too():
    assert csv_text([{"=1+1\n": 1}]) == "'=1+1\\n\n1\n"


def test_what_is_said_of_an_error_is_one_line():
    assert str(SddError("run 'a\n\x1b[31m' failed")) == "run 'a\\n\\x1b[31m' failed"
    assert format_error(ValueError("a\n\x1b[2Jb")) == "ValueError: a \\x1b[2Jb"
    assert format_error(SddError("a\x07")) == "a\\x07"


HOMES = {
    "csv": {"sdd_core/output/text.py", "plugins/sdd_plugins/noise/human.py"},  # which reads it
    "rich.markup": set(),
    "Console": {"sdd_core/output/console.py"},
    "TextColumn": set(),
    "print": {"sdd_core/cli/completion.py"},  # a document for another process
    "echo": {"sdd_core/cli/terminal.py"},
}
"""What shows text without a look at it, and the only files that may use it."""


def test_nothing_is_shown_but_by_these_means():
    root = Path(sdd_core.__file__).parents[1]
    found = []
    for file in [*root.glob("sdd_core/**/*.py"), *root.glob("plugins/**/*.py")]:
        place = str(file.relative_to(root))
        for node in ast.walk(ast.parse(file.read_text())):
            found += [f"{place}: {name}" for name in names_in(node)
                      if name in HOMES and place not in HOMES[name]]
    assert found == []


def names_in(node):
    match node:
        case ast.Import(names=names):
            return [one.name for one in names]
        case ast.ImportFrom(module=module):
            return [module]
        case ast.Call(func=ast.Name(id=name)):
            return [name] if name != "echo" else []  # that of sdd_core.cli.terminal
        case ast.Call(func=ast.Attribute(value=ast.Name(id="click"), attr="echo"), args=[what, *_]):
            # A JSON document, a CSV, or click's own help: safe already.
            safe = {"json.dumps", "numbers", "ctx.get_help"}
            return [] if any(ast.unparse(what).startswith(one) for one in safe) else ["echo"]
    return []

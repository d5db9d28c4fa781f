"""Plain text and docstrings as the markup of the site."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "docs" / "_ext"))

from docstrings import converted
from pages import cell, text, write


def rst(docstring: str) -> str:
    return "\n".join(converted(docstring.splitlines()))


@pytest.mark.parametrize(("plain", "marked"), [
    ("the smallest |w| go", r"the smallest \|w\| go"),
    ("||w - w_0||, a*b, w_", r"\|\|w - w_0\|\|, a\*b, w\_"),
    ("see `find_phases` and `w_`", "see ``find_phases`` and ``w_``"),
])
def test_what_looks_like_markup_is_none(plain, marked):
    assert rst(plain) == marked


def test_names_with_a_colon_are_a_list_on_however_many_lines():
    names = "level, sparsity: of the level. accuracy: its mean,\n    or NaN.\nwhy: it"
    found = rst(f"What it is.\n\n{names}")
    lines = [line for line in found.splitlines() if line]
    assert lines == [
        "What it is.", "``level``, ``sparsity``", "    of the level.", "``accuracy``",
        "    its mean, or NaN.", "``why``", "    it",
    ]


def test_what_is_indented_is_code_but_for_sections():
    assert rst("So:\n\n    run(*all)") == "So:\n\n::\n\n    run(*all)"
    section = "Args:\n    one: it.\n\n    two: that."
    assert rst(section) == section


def test_plain_text_in_markdown():
    assert text("a*b <x> and `c*d`") == r"a\*b \<x\> and `c*d`"
    assert text("with --train.epochs=3.") == "with `--train.epochs`=3."
    assert text("`-q, --quiet` or `sdd run --json`") == "`-q, --quiet` or `sdd run --json`"
    assert text("He, arXiv:2206.08684; https://mlflow.org") == (
        "He, [arXiv:2206.08684](https://arxiv.org/abs/2206.08684); <https://mlflow.org>"
    )
    assert cell("zero|one\n  two") == r"zero\|one two"


def test_pages_that_are_no_more_go_and_others_stay_untouched(tmp_path):
    write(tmp_path, {"a": ["one"], "b": ["two"]})
    before = (tmp_path / "a.md").stat().st_mtime_ns
    write(tmp_path, {"a": ["one"], "c": ["three"]})
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.md", "c.md"]
    assert (tmp_path / "a.md").stat().st_mtime_ns == before


def test_the_picture_of_the_architecture_is_what_the_code_gives():
    """`python docs/_ext/architecture_picture.py` makes it again."""
    from architecture_picture import PICTURE, picture

    assert PICTURE.read_text("utf-8") == picture()

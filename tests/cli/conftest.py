"""The command line in this process, and a store with a small run in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from sdd_core.cli import main

FAST = ("--levels", "1", "--train.epochs", "1", "--model.widths", "8", "--device", "cpu")
"""Options of a run that takes a fraction of a second."""

LEARNS = ("--train.batch_size", "16")
"""Options with which it learns something."""


@pytest.fixture
def sdd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs `sdd` with the given words, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SDD_STORE", raising=False)
    return lambda *words: CliRunner().invoke(main, [str(word) for word in words])


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with one finished run, which has learned something. Tests only read it."""
    store = tmp_path_factory.mktemp("store")
    done = CliRunner().invoke(main, ["run", *FAST, *LEARNS, "--store", str(store), "--quiet"])
    assert done.exit_code == 0, done.output
    return store


def refused(done: Result) -> str:
    """The one line on standard error that a bad input ends with."""
    assert done.exit_code == 2, done.output
    assert isinstance(done.exception, SystemExit)
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("Error: ")
    return lines[0]

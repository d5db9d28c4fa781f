"""Plugins of every bad sort, installed beside one another: all are listed with the reason, and
everything else works."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from support import add_distribution

from sdd_core.installation import DISTRIBUTION

pytestmark = pytest.mark.slow

SDD = [sys.executable, "-c", "from sdd_core.cli import main; main()"]

PRUNER = """
    from sdd_core import Pruner, hookimpl

    class Stranger(Pruner):
        "Weights near zero go."
        name = "{name}"
        def scores(self, level):
            return {{n: level.weights[n].abs() for n in level.prunable}}

    @hookimpl
    def sdd_pruners():
        return [Stranger]
"""
MODULES = {
    "sdd-broken": "import a_module_that_nobody_has",
    "sdd-blocked": PRUNER.format(name="blocked-pruner"),
    # Were it imported, it would fail: what it needs is not there yet.
    "sdd-too-new": 'sdd_requires = ">=2"\nfrom sdd_core import SomethingNew',
    "sdd-too-old": 'sdd_requires: str = "<1"\nfrom sdd_core import SomethingOld',
    "sdd-unreadable-range": 'sdd_requires = "two"',
    "sdd-duplicate": PRUNER.format(name="imp"),
    "sdd-wrong-argument": """
        from sdd_core import hookimpl
        @hookimpl
        def sdd_level_end(level, colour): ...
    """,
    "sdd-unknown-hook": """
        from sdd_core import hookimpl
        @hookimpl
        def sdd_pruner(): ...
    """,
    "sdd-fitting": 'sdd_requires = ">=1,<2"\n' + textwrap.dedent(PRUNER.format(name="fitting")),
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a distribution for each module, as pip would leave it."""
    folder = tmp_path_factory.mktemp("site")
    for name, source in MODULES.items():
        entry = f"{name[4:]} = {name.replace('-', '_')}"
        add_distribution(folder, name, "3.1", source, entry)
    return folder


def sdd(site: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The command in a process that finds the distributions in `site`, one of them blocked."""
    environment = {**os.environ, "PYTHONPATH": str(site), "SDD_NO_PLUGIN": "blocked-pruner"}
    return subprocess.run(
        [*SDD, *words], capture_output=True, text=True, cwd=folder, check=False,
        env=environment | {"OMP_NUM_THREADS": "1", "COLUMNS": "300"},
    )  # fmt: skip


def test_all_are_listed_with_their_reasons(site, tmp_path):
    done = sdd(site, tmp_path, "list-plugins", "--json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    found = {row["distribution"]: row for row in rows if row["distribution"] != DISTRIBUTION}
    expected = {
        "sdd-broken": ("failed", "a_module_that_nobody_has"),
        "sdd-blocked": ("blocked", "blocked by the user"),
        "sdd-too-new": ("incompatible", "needs hooks >=2 of sdd, but this sdd has 1."),
        "sdd-too-old": ("incompatible", "needs hooks <1 of sdd, but this sdd has 1."),
        "sdd-unreadable-range": ("incompatible", "'two' is not a range of versions"),
        "sdd-duplicate": ("failed", f"the name 'imp' is taken by {DISTRIBUTION}; "
                                    "use sdd-duplicate:imp for this one"),
        "sdd-wrong-argument": ("failed", "colour"),
        "sdd-unknown-hook": ("failed", "unknown hook 'sdd_pruner'"),
        "sdd-fitting": ("ok", ""),
    }
    assert found.keys() == expected.keys()
    for distribution, (status, reason) in expected.items():
        assert found[distribution]["status"] == status, distribution
        assert reason in found[distribution]["reason"], distribution
        assert found[distribution]["version"] == "3.1"
    assert all(row["status"] == "ok" for row in rows if row["distribution"] == DISTRIBUTION)


def test_people_see_the_same(site, tmp_path):
    done = sdd(site, tmp_path, "list-plugins")
    assert done.returncode == 0
    for word in ("INCOMPATIBLE: needs hooks >=2", "BLOCKED: blocked by the user",
                 "FAILED: import failed", "FAILED: the name 'imp' is taken"):
        assert word in done.stdout
    warned = done.stderr.splitlines()
    assert all(line.startswith("sdd: warning: plugin ") for line in warned)
    assert len(warned) == len(MODULES) - 2  # the blocked one was meant, the fitting one fits


def test_everything_else_works(site, tmp_path):
    words = ["--levels=1", "--train.epochs=1", "--model.widths=8", "--json"]
    usual = sdd(site, tmp_path, "run", *words)
    assert usual.returncode == 0, usual.stderr
    assert len(json.loads(usual.stdout)["levels"]) == 2
    fitting = sdd(site, tmp_path, "run", "--pruner=fitting", *words)
    assert fitting.returncode == 0, fitting.stderr
    record = next((tmp_path / "runs").glob("*fitting*/record.json"))
    assert json.loads(record.read_text())["plugins"]["pruner"] == {
        "distribution": "sdd-fitting", "version": "3.1"
    }
    for name, reason in [("too-new", "needs hooks >=2"), ("blocked-pruner", "blocked by the user")]:
        refused = sdd(site, tmp_path, "run", f"--pruner={name}", *words)
        assert refused.returncode == 2
        assert reason in refused.stderr.splitlines()[-1]
        assert "Traceback" not in refused.stderr


def test_going_on_with_another_version_says_so_once(site, tmp_path):
    words = ["run", "--pruner=fitting", "--train.epochs=1", "--model.widths=8", "--quiet"]
    assert sdd(site, tmp_path, *words, "--levels=1").returncode == 0
    again = sdd(site, tmp_path, *words, "--levels=1")
    assert "began with" not in again.stderr
    (record,) = (tmp_path / "runs").glob("*/record.json")
    old = json.loads(record.read_text().replace('"3.1"', '"3.0"'))
    for since in ("name", "experiment", "levels", "modules", "checksum"):
        del old[since]  # or it would be taken for damaged
    record.write_text(json.dumps(old))
    done = sdd(site, tmp_path, *words, "--levels=2")
    assert done.returncode == 0
    (line,) = [line for line in done.stderr.splitlines() if "began with" in line]
    assert "began with sdd-fitting 3.0 (now sdd-fitting 3.1)" in line
    assert record.parent.name in line

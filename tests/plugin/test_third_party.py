"""The example plugin, installed as a stranger's distribution, beside one that is broken."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support import add_distribution

pytestmark = pytest.mark.slow

EXAMPLE = Path(__file__).parents[2] / "examples" / "sdd-magnitude-increase"
SDD = [sys.executable, "-c", "from sdd_core.cli import main; main()"]
DISTRIBUTION = "sdd-magnitude-increase"


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """A folder with both distributions in it, as pip leaves them."""
    folder = tmp_path_factory.mktemp("site")
    # A copy: building must not leave anything in the repository.
    source = shutil.copytree(EXAMPLE, tmp_path_factory.mktemp("source") / "example")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    pip += ["--no-build-isolation", "--disable-pip-version-check", "--target", str(folder)]
    subprocess.run([*pip, str(source)], check=True)
    broken = "import a_module_that_nobody_has\n"
    add_distribution(folder, "sdd-broken", "2.0", broken, "broken = sdd_broken")
    return folder


def run(site: Path | str, command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """The command in a process that finds the distributions in `site` too."""
    environment = {**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command, capture_output=True, text=True, env=environment, cwd=folder,
        check=False,
    )


def test_it_is_listed_with_its_distribution_and_the_broken_one_with_the_reason(site, tmp_path):
    done = run(site, [*SDD, "list-plugins", "--json"], tmp_path)
    assert done.returncode == 0
    rows = {(row["kind"], row["name"]): row for row in json.loads(done.stdout)}
    for name in (("pruner", "magnitude-increase"), ("metric", "sign_changes")):
        row = rows[name]
        assert (row["distribution"], row["version"]) == (DISTRIBUTION, "0.1.0")
        assert row["status"] == "ok"
        assert row["description"]
    broken = next(row for row in rows.values() if row["distribution"] == "sdd-broken")
    assert broken["status"] == "failed"
    assert "a_module_that_nobody_has" in broken["reason"]
    assert rows["pruner", "imp"]["status"] == "ok"


def test_it_runs_and_the_broken_one_is_only_warned_of(site, tmp_path):
    options = ["--pruner=magnitude-increase", "--pruner.fraction=0.5", "--levels=2"]
    done = run(site, [*SDD, "run", *options, "--train.epochs=2", "--json"], tmp_path)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert [level["sparsity"] for level in result["levels"]] == [0.0, 0.5, 0.75]
    for level in result["levels"]:
        assert 0 < level["metrics"]["sign_changes"] < 0.5
        assert level["metrics"]["test_accuracy"] > 0.2
    assert "sdd-broken" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_stranger_that_did_not_load_is_named_where_its_pruner_is_asked_for(site, tmp_path):
    done = run(site, [*SDD, "run", "--pruner=broken"], tmp_path)
    assert done.returncode == 2
    assert "a_module_that_nobody_has" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_it_its_pruner_is_unknown(tmp_path):
    done = run("", [*SDD, "run", "--pruner=magnitude-increase"], tmp_path)
    assert done.returncode == 2
    assert "unknown pruner 'magnitude-increase'" in done.stderr


def test_its_own_tests_pass_where_it_is_installed(site, tmp_path):
    copy = shutil.copy(EXAMPLE / "test_sdd_magnitude_increase.py", tmp_path)
    pytest_command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = run(site, [*pytest_command, str(copy)], tmp_path)
    assert done.returncode == 0, done.stdout
    assert "4 passed" in done.stdout

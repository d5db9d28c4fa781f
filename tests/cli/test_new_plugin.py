"""A folder that `sdd new-plugin` writes installs, passes its own tests and is found, untouched."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.conftest import refused
from sdd_core.cli import main
from sdd_core.cli.new_plugin import KINDS

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A new distribution of each kind."""
    parent = tmp_path_factory.mktemp("new")
    made = {kind: parent / f"sdd-my-{kind}" for kind in KINDS}
    for kind, folder in made.items():
        words = ["new-plugin", f"my-{kind}", "--kind", kind, "--output", str(folder)]
        done = CliRunner().invoke(main, words)
        assert done.exit_code == 0, done.output
    return made


@pytest.fixture(scope="module")
def site(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All of them installed, as pip does it."""
    folder = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    pip += ["--no-build-isolation", "--disable-pip-version-check", "--target", str(folder)]
    subprocess.run([*pip, *map(str, folders.values())], check=True)
    return folder


@pytest.mark.slow
def test_its_tests_pass_as_generated(folders, site):
    environment = {**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}
    pytest_command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist"]
    # One process for all: each would wait for torch.
    tests = [str(folder / "tests") for folder in folders.values()]
    done = subprocess.run(
        [*pytest_command, "-c", os.devnull, *tests],
        capture_output=True, text=True, env=environment, check=False, cwd=site,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert f"{2 * len(KINDS)} passed" in done.stdout


@pytest.mark.parametrize("kind", KINDS)
def test_everything_is_there(folders, kind):
    module = f"sdd_my_{kind.replace('-', '_')}"
    found = {str(file.relative_to(folders[kind])) for file in folders[kind].rglob("*")
             if file.is_file()}
    assert found >= {
        "pyproject.toml", "README.md", ".gitignore", ".github/workflows/test.yml",
        f"{module}.py", f"tests/test_{module}.py",
    }  # fmt: skip
    project = tomllib.loads((folders[kind] / "pyproject.toml").read_text())
    assert project["project"]["name"] == f"sdd-my-{kind}"
    assert project["project"]["entry-points"]["sdd"] == {f"my-{kind}": module}
    workflow = (folders[kind] / ".github" / "workflows" / "test.yml").read_text()
    assert "${{ matrix.python }}" in workflow
    assert not list(folders[kind].parent.glob(".sdd-*"))


def test_without_an_output_it_is_in_a_folder_of_its_own(sdd, tmp_path):
    done = sdd("new-plugin", "weight-sign", "--kind", "metric")
    assert done.exit_code == 0
    assert (tmp_path / "sdd-weight-sign" / "sdd_weight_sign.py").is_file()
    assert "pip install -e sdd-weight-sign && sdd check metric:weight-sign" in done.stdout


@pytest.mark.parametrize("name", ["Weight", "two words", "1st", "a--b", "-a", "é", "a.b", "", "a/"])
def test_bad_names_are_refused(sdd, tmp_path, name):
    line = refused(sdd("new-plugin", "--kind", "pruner", "--", name))
    assert "is not a valid plugin name" in line
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["core", "plugins", "sdd-core"])
def test_the_modules_of_sdd_itself_are_refused(sdd, tmp_path, name):
    assert "which belongs to sdd" in refused(sdd("new-plugin", name, "--kind", "pruner"))
    assert not list(tmp_path.iterdir())


def test_a_name_that_another_plugin_has_is_refused(sdd, tmp_path):
    said = refused(sdd("new-plugin", "imp", "--kind", "pruner"))
    assert " already has a pruner 'imp'; choose another name" in said
    assert not list(tmp_path.iterdir())
    assert sdd("new-plugin", "imp", "--kind", "metric").exit_code == 0


def test_what_exists_is_left_alone(sdd, tmp_path):
    (tmp_path / "sdd-mine").mkdir()
    assert "sdd-mine already exists" in refused(sdd("new-plugin", "mine", "--kind", "model"))
    (tmp_path / "file").write_text("a file")
    said = refused(sdd("new-plugin", "mine", "--kind", "model", "--output", "file/mine"))
    assert "cannot write file/mine" in said
    assert not list((tmp_path / "sdd-mine").iterdir())
    assert "'recipe' is not one of" in refused(sdd("new-plugin", "mine", "--kind", "recipe"))


@pytest.mark.slow
def test_the_templates_are_in_the_wheel(tmp_path):
    hatch = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(hatch, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    packed = set(zipfile.ZipFile(wheel).namelist())
    templates = ROOT / "sdd_core" / "templates"
    there = {str(file.relative_to(ROOT)) for file in templates.rglob("*") if file.is_file()}
    assert len(there) >= len(KINDS)
    assert there <= packed

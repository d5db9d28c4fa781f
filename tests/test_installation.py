"""What sdd is called where it is installed from: one name in every hint, document and template."""

import json
import re
import tomllib
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import SimpleNamespace

import pytest

from sdd_core import installation, load_plugins
from sdd_core.installation import DISTRIBUTION, install_hint

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"].keys()

TEXT = {".py", ".md", ".txt", ".toml", ".ipynb", ".cff", ".yml", ".rst", ""}
FOLDERS = ("sdd_core", "plugins", "docs", "examples", "benchmarks", "tests", ".ci")
PLACES = [*ROOT.glob("*.*"), *(file for folder in FOLDERS for file in (ROOT / folder).rglob("*"))]
FILES = sorted(file for file in PLACES
               if file.suffix in TEXT and file.is_file() and "__pycache__" not in file.parts
               and file != Path(__file__))
SOURCES = [file for file in FILES
           if (file.suffix == ".py" and file.is_relative_to(ROOT / "sdd_core"))
           or file.is_relative_to(ROOT / "plugins")]

COMMAND = re.compile(
    r"pip install(?: --resolution [\w-]+)?((?: --?[a-z-]+)*) ('[^']*'|[^\s`;&]+)"
)
A_TREE = re.compile(r"\.(\[[\w,]+\])?")
A_PLUGIN = re.compile(r"(\./examples/)?sdd-(magnitude-increase|weight-sign)|\{folder\}")
OTHERS = {"torch"}
"""What the workflow of a new plugin installs besides."""

WHEEL = '$work"/sparse_double_descent-*.whl'


def targets(text: str) -> list[str]:
    """What the commands in a text install."""
    return [found[2].strip("'\"\\") for found in COMMAND.finditer(text)]


def test_commands_are_found_in_every_form() -> None:
    assert targets("; pip install 'sdd[ray]'\") from") == ["sdd[ray]"]
    assert targets('"pip install \\"sdd[geometry]\\""') == ["sdd[geometry]"]
    assert targets("(`pip install 'sdd[ray]'`), pip install sdd, `pip install -e .`") == [
        "sdd[ray]", "sdd,", "."]
    assert targets("pip install --quiet -e '.[dev]' && x") == [".[dev]"]


def test_every_document_installs_this_distribution_with_extras_that_there_are() -> None:
    found = 0
    for file in FILES:
        text = file.read_text(encoding="utf-8")
        if file.suffix != ".py":
            for target in targets(text):
                found += 1
                ours = A_TREE.fullmatch(target) or re.fullmatch(
                    rf"{DISTRIBUTION}(\[[\w,]+\])?", target)
                known = A_PLUGIN.fullmatch(target) or target in OTHERS or target == WHEEL
                assert ours or known, f"{file}: {target}"
                assert not ours or set(re.findall(r"[\w]+", target.partition("[")[2])) <= EXTRAS
        for extra in re.findall(r"extra `(\w+)`", text):
            found += 1
            assert extra in EXTRAS, f"{file}: there is no extra {extra}"
        assert not re.search(r"\bsdd\[(?!project)[a-z,]+\]", text), f"{file}: another's"
    assert found > 20


def test_no_source_words_a_hint_of_its_own() -> None:
    apart = {"sdd_core/installation.py", "sdd_core/cli/new_plugin.py"}
    for file in SOURCES:
        if str(file.relative_to(ROOT)) not in apart:
            assert "pip install" not in file.read_text(), f"{file}: use install_hint"


def test_every_hint_names_an_extra_that_there_is() -> None:
    named = [(file, extra) for file in SOURCES if file.suffix == ".py"
             for extra in re.findall(r"install_hint\((.*?)\)", file.read_text())]
    literal = {extra.strip("'\"") for _, extra in named if extra[:1] in {"'", '"'}}
    assert literal >= {"geometry", "hf", "onnx", "parquet", "ray", "timm"}
    assert literal <= EXTRAS
    # A tracker or export format of sdd's own needs the extra that is called as it is.
    rows = [row for row in load_plugins().rows
            if row.kind in {"tracker", "exporter"} and row.distribution == DISTRIBUTION]
    assert len(rows) >= 9
    for row in rows:
        assert row.plugin is not None
        assert row.name in EXTRAS or not row.plugin.package


def test_what_depends_on_sdd_depends_on_this_distribution() -> None:
    assert PROJECT["name"] == DISTRIBUTION
    everything = [ROOT / "pyproject.toml", ROOT / "sdd_core/templates/pyproject.toml.txt",
                  *ROOT.glob("examples/*/pyproject.toml")]
    assert len(everything) > 2
    for file in everything:
        assert not re.search(r"""["']sdd\s*[\[<>=~!"';]""", file.read_text().replace(
            "[project.entry-points.sdd]", "")), file
        assert re.search(rf'"{DISTRIBUTION}[\[>]', file.read_text()), file


@pytest.mark.parametrize(
    ("origin", "hint"),
    [
        ({"dir_info": {"editable": True}}, "pip install -e '.[ray]' in sdd's checkout"),
        ({"dir_info": {}}, "pip install -e '.[ray]' in sdd's checkout"),
        (PackageNotFoundError(), "pip install -e '.[ray]' in sdd's checkout"),
        ({"archive_info": {}}, "pip install 'sparse-double-descent[ray]'"),
        (None, "pip install 'sparse-double-descent[ray]'"),
    ],
)
def test_a_hint_says_how_sdd_itself_was_installed(monkeypatch, origin, hint) -> None:
    def distribution(name: str) -> SimpleNamespace:
        assert name == DISTRIBUTION
        if isinstance(origin, Exception):
            raise origin
        said = None if origin is None else json.dumps({"url": "file:///x", **origin})
        return SimpleNamespace(read_text=lambda file: said)

    monkeypatch.setattr(installation, "distribution", distribution)
    assert install_hint("ray") == hint
    assert install_hint() == hint.replace("[ray]", "")

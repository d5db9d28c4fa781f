"""`sdd new-plugin`."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path
from string import Template
from tempfile import TemporaryDirectory

import click

from sdd_core.cli.options import Folder
from sdd_core.cli.terminal import echo
from sdd_core.errors import SddError
from sdd_core.experiment.experiment import field_of
from sdd_core.plugin.base import article
from sdd_core.plugin.discovery import load_plugins

TEMPLATES = files("sdd_core").joinpath("templates")
KINDS = sorted(file.name.removesuffix(".py.txt") for file in
               TEMPLATES.joinpath("kinds").iterdir())

NAME = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*")

# Where each template goes in the new distribution.
FILES = {
    "pyproject.toml.txt": "pyproject.toml",
    "README.md.txt": "README.md",
    "gitignore.txt": ".gitignore",
    "test.yml.txt": ".github/workflows/test.yml",
}


@click.command("new-plugin")
@click.argument("name")
@click.option("--kind", required=True, type=click.Choice(KINDS), help="What the plugin is.")
@click.option("--output", type=Folder(),
              help="Folder to make; sdd-NAME in this one if not given.")
def new_plugin(name: str, kind: str, output: Path | None) -> None:
    """Write a distribution with a plugin in it: it can be installed, and its tests pass.

    NAME is what users will type, such as magnitude-increase.
    """
    words = _words(name, kind)
    folder = output or Path(words["distribution"])
    if folder.exists():
        raise SddError(f"{folder} exists already; say with --output where else to write, or choose "
                       "another name")
    test = "test_hook.py.txt" if kind == "hook" else "test_plugin.py.txt"
    places = FILES | {
        f"kinds/{kind}.py.txt": f"{words['module']}.py",
        test: f"tests/test_{words['module']}.py",
    }
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        # Whole or not at all: the folder gets its name when everything is in it.
        with TemporaryDirectory(dir=folder.parent, prefix=".sdd-") as fresh:
            for template, place in places.items():
                file = Path(fresh) / folder.name / place
                file.parent.mkdir(parents=True, exist_ok=True)
                text = TEMPLATES.joinpath(template).read_text("utf-8")
                file.write_text(Template(text).substitute(words), encoding="utf-8")
            (Path(fresh) / folder.name).rename(folder)
    except OSError as error:
        raise SddError(f"cannot write {folder}: {error.strerror or error}") from None
    for place in sorted(places.values()):
        echo(f"wrote {folder / place}")
    echo(f"next: pip install -e {folder} && sdd check {words['kind']}:{name}")


def _words(name: str, kind: str) -> dict[str, str]:
    """What the templates leave open. Raises SddError: a name that cannot be one."""
    if not NAME.fullmatch(name):
        raise SddError(f"{name!r} is no name for a plugin; use small letters, digits and hyphens, "
                       "such as magnitude-increase")
    parts = re.split("[-_]", name.removeprefix("sdd-"))
    module = "_".join(["sdd", *parts])
    if module in {"sdd_core", "sdd_plugins"}:
        raise SddError(f"{name!r} would make the module {module}, which is sdd's own; choose "
                       "another name")
    taken = next((row for row in load_plugins().rows
                  if (row.kind, row.name) == (kind, name) and row.plugin), None)
    if taken:
        raise SddError(f"there is {article(kind)} {name!r} already, in {taken.distribution}; "
                       "choose another name")
    words = " ".join(parts)
    section = field_of(kind) or kind
    use = {"hook": "sdd run --levels=3", "metric": f"sdd run --metric={name}"}
    return {
        "name": name,
        "kind": "observer" if kind == "hook" else kind,
        "a_kind": article("observer" if kind == "hook" else kind).capitalize(),
        "distribution": "-".join(["sdd", *parts]),
        "module": module,
        "class_name": "".join(part.capitalize() for part in parts),
        "words": words,
        "title": words.capitalize(),
        "use": use.get(kind, f"sdd run --{section}={name}"),
    }

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

# Template: its place in the new distribution.
FILES = {
    "pyproject.toml.txt": "pyproject.toml",
    "README.md.txt": "README.md",
    "gitignore.txt": ".gitignore",
    "test.yml.txt": ".github/workflows/test.yml",
}


@click.command("new-plugin")
@click.argument("name")
@click.option("--kind", required=True, type=click.Choice(KINDS), help="Kind of the plugin.")
@click.option("--output", type=Folder(),
              help="Folder to create.  [default: sdd-NAME]")
def new_plugin(name: str, kind: str, output: Path | None) -> None:
    """Write a distribution with a plugin that can be installed and whose tests pass.

    NAME is the name that users will type, such as magnitude-increase.
    """
    words = _words(name, kind)
    folder = output or Path(words["distribution"])
    if folder.exists():
        raise SddError(f"{folder} already exists; choose another folder with --output, or another "
                       "name")
    test = "test_hook.py.txt" if kind == "hook" else "test_plugin.py.txt"
    places = FILES | {
        f"kinds/{kind}.py.txt": f"{words['module']}.py",
        test: f"tests/test_{words['module']}.py",
    }
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        # Atomically: the folder gets its name when it is complete.
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
    """Return the values for the placeholders of the templates. Raises SddError for a bad name."""
    if not NAME.fullmatch(name):
        raise SddError(f"{name!r} is not a valid plugin name; use lower-case letters, digits and "
                       "hyphens, such as magnitude-increase")
    parts = re.split("[-_]", name.removeprefix("sdd-"))
    module = "_".join(["sdd", *parts])
    if module in {"sdd_core", "sdd_plugins"}:
        raise SddError(f"{name!r} would create the module {module}, which belongs to sdd; choose "
                       "another name")
    taken = next((row for row in load_plugins().rows
                  if (row.kind, row.name) == (kind, name) and row.plugin), None)
    if taken:
        raise SddError(f"{taken.distribution} already has {article(kind)} {name!r}; choose another "
                       "name")
    words = " ".join(parts)
    section = (field_of(kind) or kind).replace("_", "-")
    use = {"hook": "sdd run --levels=3", "metric": f"sdd run --metric={name}",
           "exporter": f"sdd export RUN --format={name}"}
    return {
        "name": name,
        "kind": "observer" if kind == "hook" else kind,
        "check": f"check_{kind.replace('-', '_')}",
        "a_kind": article("observer" if kind == "hook" else kind).capitalize(),
        "distribution": "-".join(["sdd", *parts]),
        "module": module,
        "class_name": "".join(part.capitalize() for part in parts),
        "words": words,
        "title": words.capitalize(),
        "use": use.get(kind, f"sdd run --{section}={name}"),
    }

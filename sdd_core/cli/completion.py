"""Complete the names of plugins, their options, and the names of runs in shells.

Listing the plugins means importing them, which takes seconds because of torch. So a separate
process does it once per set of installed distributions and caches the result for the user.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from sdd_core.output.text import one_line

Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]

GROUP = "sdd"
LONGEST = 120
"""Time limit for importing all plugins, in seconds."""


def names_of(kind: str | None = None) -> Completer:
    """Return a completer for the names of the usable plugins of a kind, or of all kinds."""

    def complete(
        ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        known = catalogue()["plugins"]
        return [
            CompletionItem(one_line(name), help=one_line(plugin["says"]))
            for one in ([kind] if kind else sorted(known))
            for name, plugin in sorted(known.get(one, {}).items())
            if name.startswith(incomplete)
        ]

    return complete


def run_names(files: bool = False) -> Completer:
    """Return a completer for the names of the runs in `--store`. Where none fits, the shell itself
    completes folders, or files if `files`."""

    def complete(
        ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        store, given = ctx.params.get("store") or "runs", ctx.params.get(param.name or "") or ()
        names = sorted(file.parent.name for file in Path(store).glob("*/experiment.toml"))
        return [
            CompletionItem(incomplete, type="file" if files else "dir"),
            *(CompletionItem(name) for name in names
              if name.startswith(incomplete) and name not in given),
        ]

    return complete


def field_options(chosen: Mapping[str, tuple[str, str]]) -> list[click.Parameter]:
    """Return an option for each field of the training and of the chosen plugins.

    chosen: the kind and name of the plugin, by section.
    """
    known = catalogue()
    fields = {"train": known["train"]}
    for section, (kind, name) in chosen.items():
        fields[section] = known["plugins"].get(kind, {}).get(name, {}).get("options", {})
    return [
        click.Option(
            [f"--{section.replace('_', '-')}.{field}", f"{section}.{field}".replace(".", "__")],
            help=option["says"],
            type=click.Choice(option["values"]) if option["values"] else str,
        )
        for section, options in fields.items()
        for field, option in options.items()
    ]


def default_noise(data: Any) -> str:
    """Return the label noise whose options may be given without its name, for this data set."""
    known = catalogue()["plugins"].get("data", {}).get(data, {}) if isinstance(data, str) else {}
    usual = known.get("default_noise", "none")
    return "symmetric" if usual == "none" else usual


def catalogue() -> dict[str, Any]:
    """Return the names, descriptions and options of the installed plugins, by kind. Empty where
    they cannot be listed, because a shell shows no errors."""
    installed = _installed()
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    file = Path(base) / "sdd" / "completion.json"
    with suppress(OSError, ValueError, KeyError):
        kept = json.loads(file.read_text("utf-8"))
        if kept["installed"] == installed:
            return kept["found"]
    found: dict[str, Any] = {"plugins": {}, "train": {}}
    with suppress(OSError, ValueError, subprocess.SubprocessError):
        command = [sys.executable, "-P", "-m", "sdd_core.cli.completion"]
        path = os.pathsep.join(filter(None, sys.path))
        done = subprocess.run(command, capture_output=True, check=True, timeout=LONGEST,
                              env=os.environ | {"PYTHONPATH": path})
        found = json.loads(done.stdout)
        _keep(file, {"installed": installed, "found": found})
    return found


def _keep(file: Path, value: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    # Two shells may write it at the same time.
    with tempfile.NamedTemporaryFile("w", dir=file.parent, delete=False, encoding="utf-8") as fresh:
        json.dump(value, fresh)
    os.replace(fresh.name, file)


def _installed() -> list[list[Any]]:
    """Return what changes when other plugins are installed than in the cached catalogue."""
    return sorted(
        [entry.dist.name if entry.dist else "?", entry.dist.version if entry.dist else "?",
         entry.name, entry.value, _changed(entry)]
        for entry in entry_points(group=GROUP)
    )  # fmt: skip


def _changed(entry: EntryPoint) -> float:
    """Return when the file behind an entry point was last changed, without importing it."""
    top, *inner = entry.module.split(".")
    with suppress(Exception):
        spec = find_spec(top)
        if spec and not inner:
            return os.stat(str(spec.origin)).st_mtime
        folder = Path(next(iter(spec.submodule_search_locations or []))) if spec else Path()
        place = folder.joinpath(*inner)
        return os.stat(place / "__init__.py" if place.is_dir() else f"{place}.py").st_mtime
    return 0.0


def _find() -> dict[str, Any]:
    from sdd_core.cli.types import type_name  # noqa: PLC0415 (imports this module)
    from sdd_core.experiment.train import Train  # noqa: PLC0415
    from sdd_core.plugin.discovery import load_plugins  # noqa: PLC0415
    from sdd_core.plugin.options import PluginRef  # noqa: PLC0415

    rows = [row for row in load_plugins().rows if row.status == "ok" and row.plugin]

    def option(info: Any) -> dict[str, Any]:
        kind = type_name(info.annotation)
        values = kind.split("|") if "|" in kind else []
        named = {mark.kind for mark in info.metadata if isinstance(mark, PluginRef)}
        values += [row.name for row in rows if row.kind in named]
        return {"says": info.description or "",
                "values": ["true", "false"] if kind == "boolean" else values}

    plugins: dict[str, Any] = {}
    for row in rows:
        assert row.plugin is not None
        options = {name: option(info) for name, info in row.plugin.model_fields.items()}
        plugins.setdefault(row.kind, {})[row.name] = {"says": row.description, "options": options}
        if noise := getattr(row.plugin, "default_noise", None):
            name = noise if isinstance(noise, str) else noise["name"]
            plugins[row.kind][row.name]["default_noise"] = name
    train = {name: option(info) for name, info in Train.model_fields.items()}
    return {"plugins": plugins, "train": train}


if __name__ == "__main__":
    print(json.dumps(_find()))

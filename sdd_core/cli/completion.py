"""What shells complete: the names of plugins, their options, and the names of runs.

Which plugins there are, only importing them tells, which takes seconds for torch. So another
process does it, once for what is installed, and what it found is kept in the user's cache.
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
"""Seconds that importing all plugins may take."""


def names_of(kind: str | None = None) -> Completer:
    """Completes the names of the usable plugins of a kind, or of all kinds."""

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
    """Completes the names of the runs in `--store`; what else is possible are folders, or `files`,
    which a shell completes itself where no name fits."""

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
    """An option for each field of the training and of the plugins that are `chosen`: for each
    section its kind and the plugin's name."""
    known = catalogue()
    fields = {"train": known["train"]}
    for section, (kind, name) in chosen.items():
        fields[section] = known["plugins"].get(kind, {}).get(name, {}).get("options", {})
    return [
        click.Option(
            [f"--{section}.{field}", f"{section}.{field}".replace(".", "__")],
            help=option["says"],
            type=click.Choice(option["values"]) if option["values"] else str,
        )
        for section, options in fields.items()
        for field, option in options.items()
    ]


def default_noise(data: Any) -> str:
    """The label noise whose options may be given without its name, for data of that name."""
    known = catalogue()["plugins"].get("data", {}).get(data, {}) if isinstance(data, str) else {}
    usual = known.get("default_noise", "none")
    return "symmetric" if usual == "none" else usual


def catalogue() -> dict[str, Any]:
    """Names, descriptions and options of the plugins that are installed, by kind. Empty where
    they cannot be found out: a shell shows no errors."""
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
    # Two shells may do so at once.
    with tempfile.NamedTemporaryFile("w", dir=file.parent, delete=False, encoding="utf-8") as fresh:
        json.dump(value, fresh)
    os.replace(fresh.name, file)


def _installed() -> list[list[Any]]:
    """What tells that other plugins are there than when the catalogue was made."""
    return sorted(
        [entry.dist.name if entry.dist else "?", entry.dist.version if entry.dist else "?",
         entry.name, entry.value, _changed(entry)]
        for entry in entry_points(group=GROUP)
    )  # fmt: skip


def _changed(entry: EntryPoint) -> float:
    """When the file behind an entry point was changed last; nothing is imported for it."""
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

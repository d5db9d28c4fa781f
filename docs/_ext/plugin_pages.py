"""A page for every plugin, out of its class: what it does, its source, its options.

The pages are written into `docs/plugins` before Sphinx reads its sources.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pages import cell, text, write
from sphinx.util import logging

from sdd_core.cli.plugins import bounds, default, dotted, example
from sdd_core.cli.settings import noise_of
from sdd_core.cli.types import type_name
from sdd_core.installation import DISTRIBUTION
from sdd_core.plugin.discovery import load_plugins
from sdd_core.plugin.kinds import KINDS, DataSource
from sdd_core.plugin.registry import PluginRecord

logger = logging.getLogger(__name__)


def setup(app: Any) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("builder-inited", lambda app: write_pages(Path(app.srcdir) / "plugins"))
    return {"parallel_read_safe": True}


def write_pages(folder: Path) -> None:
    """A page for each plugin that comes with sdd, one for each kind, and one that lists them."""
    mine = [row for row in load_plugins().rows if row.distribution == DISTRIBUTION]
    for row in mine:
        if row.status != "ok":
            logger.warning("plugin %s has no page: %s", row.name, row.reason)
    rows = [row for row in mine if row.plugin and row.status == "ok"]
    pages = {_page(row): _of(row) for row in rows}
    kinds = [kind for kind in KINDS if any(row.kind == kind for row in rows)]
    pages |= {kind: _of_kind(kind, [row for row in rows if row.kind == kind]) for kind in kinds}
    write(folder, {**pages, "index": _index(kinds)})


def _page(row: PluginRecord) -> str:
    return f"{row.kind}-{row.name}"


def _index(kinds: list[str]) -> Iterator[str]:
    yield "# Plugins\n"
    yield ("What comes with `sdd`, as `sdd list-plugins` shows it. Each page is generated from the "
           "plugin's class and says the same as `sdd show NAME`.\n")
    yield "```{toctree}\n:maxdepth: 2\n"
    yield from kinds
    yield "```"


def _of_kind(kind: str, rows: list[PluginRecord]) -> Iterator[str]:
    base = KINDS[kind]
    yield f"# {base.title}\n"
    yield text(inspect.cleandoc(base.__doc__ or "")) + "\n"
    yield "| name | |\n|---|---|"
    for row in rows:
        yield f"| [`{row.name}`]({_page(row)}.md) | {cell(row.description)} |"
    yield f"\nTo write one: [`{base.__name__}`](../api.md#plugin-classes).\n"
    yield "```{toctree}\n:hidden:\n"
    yield from (f"{row.name} <{_page(row)}>" for row in rows)
    yield "```"


def _of(row: PluginRecord) -> Iterator[str]:
    plugin = row.plugin
    assert plugin is not None
    yield f"# {row.name}\n"
    yield text(inspect.cleandoc(plugin.__doc__ or "")) + "\n"
    if plugin.source:
        yield f"**Source:** {text(plugin.source)}\n"
    if issubclass(plugin, DataSource):
        yield f"**Default label noise:** {text(noise_of(plugin))}\n"
    yield f"```sh\n{example(row)}\n```\n"
    if plugin.model_fields:
        yield "## Options\n\n| option | type | default | bounds | |\n|---|---|---|---|---|"
        for option, info in plugin.model_fields.items():
            cells = (f"`{dotted(row, option)}`", type_name(info.annotation), default(info),
                     bounds(info), info.description or "")
            yield "| " + " | ".join(map(cell, cells)) + " |"
    yield f"\nClass: `{plugin.__module__}.{plugin.__qualname__}`"

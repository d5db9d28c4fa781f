"""Commands that take the options of one plugin: `--executor.address`, `--format.opset`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import click

from sdd_core.cli.completion import field_options
from sdd_core.cli.settings import FieldOption, words_of
from sdd_core.plugin.discovery import load_plugins

_OPTIONS = "sdd_core.cli.plugin_command.options"


class PluginCommand(click.Command):
    """A command with a typed option for each field of the plugin that another option names.

    option: that option. kind: the plugin's kind. usual: its default name. left_out: fields without
    an option.
    """

    option: ClassVar[str]
    kind: ClassVar[str]
    usual: ClassVar[str]
    left_out: ClassVar[tuple[str, ...]] = ()

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        seen, _ = words_of(self, args)
        name = str(seen.get(self.option) or self.usual)
        if ctx.resilient_parsing:
            # For shell completion, importing torch would take too long.
            found = field_options({self.option: (self.kind, name)})
            options: list[click.Parameter] = [
                one for one in found for section, _, field in [one.opts[0].partition(".")]
                if section == f"--{self.option}" and field not in self.left_out
            ]
        else:
            plugin = load_plugins(tuple(seen.get("no_plugin") or ())).get(self.kind, name)
            options = [
                FieldOption(self.option, field, info, f"Options of {self.kind} {name}")
                for field, info in plugin.model_fields.items() if field not in self.left_out
            ]
        ctx.meta[_OPTIONS] = options
        return super().parse_args(ctx, args)

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Return the fixed parameters and those of the chosen plugin."""
        return [*super().get_params(ctx), *ctx.meta.get(_OPTIONS, ())]

    @classmethod
    def chosen(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the table of the chosen plugin's name and options, from the parsed values."""
        prefix = f"{cls.option}__"
        given = {name.removeprefix(prefix): value for name, value in values.items()
                 if name.startswith(prefix) and value is not None}
        return {"name": values[cls.option], **given}

"""Make command-line options from the fields of the experiment and of the chosen plugins."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from sdd_core.cli.completion import default_noise, field_options
from sdd_core.cli.types import type_name
from sdd_core.errors import SddError
from sdd_core.experiment.choice import DEFAULTS, data_class, default_names, usual_noise
from sdd_core.experiment.experiment import default_of_option, options_that_name, sections
from sdd_core.experiment.settings import override, parse_value, read_toml
from sdd_core.experiment.train import Train
from sdd_core.output.text import one_line
from sdd_core.plugin.discovery import Plugins, load_plugins
from sdd_core.plugin.kinds import DataSource
from sdd_core.plugin.options import PluginRef

_SEPARATOR = "__"
_OPTIONS = "sdd_core.cli.settings.options"
_NOISE = "sdd_core.cli.settings.noise"


class ExperimentCommand(click.Command):
    """A command with a typed option for each field of the chosen plugins: `--pruner.batches`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        self._find_options(ctx, args)
        return super().parse_args(ctx, args)

    def _find_options(self, ctx: click.Context, args: list[str]) -> None:
        """Find the options of the plugins that the command line and its file choose. Mistakes in
        the line are reported later, when click parses it."""
        seen, rest = words_of(self, args)
        file = next((Path(word) for word in rest if word.endswith(".toml")), None)
        try:
            fields = read_toml(file) if file and file.is_file() else {}
            fields = override(fields, changes(seen))
        except SddError:
            if not ctx.resilient_parsing:
                raise
            fields = {}
        if ctx.resilient_parsing:
            # For shell completion, importing torch would take too long.
            noise = default_noise(_name(fields, "data", DEFAULTS))
            ctx.meta[_OPTIONS] = field_options(chosen(fields, {**DEFAULTS, "noise": noise}))
        else:
            if not {*ctx.help_option_names} & {*args}:
                self.prepare(fields, seen)
            plugins = load_plugins(tuple(seen.get("no_plugin") or ()))
            ctx.meta[_OPTIONS] = _options(fields, plugins)
            ctx.meta[_NOISE] = noise_of(_data(fields, plugins))

    def prepare(self, fields: Mapping[str, Any], values: Mapping[str, Any]) -> None:
        """Begin what takes long, before torch is imported.

        fields: the settings of the experiment, not checked yet. values: the command line's values.
        """

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Return the fixed parameters and those of the chosen plugins."""
        return [*super().get_params(ctx), *ctx.meta.get(_OPTIONS, ())]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        groups: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record and param.name == "noise" and _NOISE in ctx.meta:
                record = record[0], f"{record[1]}  [default: {ctx.meta[_NOISE]}]"
            if record:
                group = getattr(param, "group", "Options")
                groups.setdefault(one_line(group), []).append((one_line(record[0]),
                                                               one_line(record[1])))
        for group, records in groups.items():
            with formatter.section(group):
                formatter.write_dl(records)


def words_of(command: click.Command, args: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """Return the values in a command line by option name, as text, and the other words.

    Flags have no value. All other options have one, including those that the command gets only
    after the plugins in the line are known.
    """
    named = {word: param for param in command.params for word in param.opts}
    seen: dict[str, Any] = {}
    rest: list[str] = []
    words = iter(args)
    for word in words:
        option, equals, value = word.partition("=")
        param = named.get(option)
        if word == "--":
            rest += words
        elif not option.startswith("-") or (param is None and "." not in option):
            rest.append(word)
        elif not getattr(param, "is_flag", False):
            name = param.name if param else _destination(option)
            text = value if equals else next(words, "")
            several = getattr(param, "multiple", False)
            seen[str(name)] = (*seen.get(str(name), ()), text) if several else text
    return seen, rest


def _destination(option: str) -> str:
    """Return the name in which click keeps the value of `--section.option`."""
    section, _, rest = option.lstrip("-").partition(".")
    return f"{section.replace('-', '_')}.{rest}".replace(".", _SEPARATOR)


class FieldOption(click.Option):
    """An option for a field of the experiment."""

    def __init__(self, section: str, field: str, info: FieldInfo, group: str) -> None:
        default = info.get_default(call_default_factory=False)
        note = info.description or ""
        if default is not None and not info.is_required():
            shown = ",".join(map(str, default)) if isinstance(default, tuple) else default
            note += f"  [default: {shown}]"
        self.group = group
        kind = type_name(info.annotation)
        parsers: dict[str, Callable[[str], Any]] = {
            "text": str, "path": str, "text list": parse_words,
        }
        parse = parsers.get(kind, parse_value)
        if any(isinstance(mark, PluginRef) for mark in info.metadata):
            parse = parse_choice
        elif kind.endswith(" list") and kind not in parsers:
            parse = parse_list
        super().__init__(
            [f"--{section.replace('_', '-')}.{field}",
             f"{section}.{field}".replace(".", _SEPARATOR)],
            metavar=kind.upper(),
            help=note,
            callback=lambda ctx, param, value: None if value is None else parse(value),
        )


def _options(fields: Mapping[str, Any], plugins: Plugins) -> list[click.Parameter]:
    options: list[click.Parameter] = [
        FieldOption("train", name, info, "Training") for name, info in Train.model_fields.items()
    ]
    for section, (kind, name) in chosen(fields, default_names(fields, plugins)).items():
        try:
            plugin: type[BaseModel] = plugins.find(kind, name)[0]
        except SddError:
            continue  # reported with the nearest names when the experiment is made
        group = f"Options of {section} {name}"
        usual = usual_noise(_data(fields, plugins), asked=False)["name"]
        if section == "noise" and not fields.get("noise") and usual != name:
            group += " (any of them selects it)"
        options += [
            FieldOption(section, field, info, group) for field, info in plugin.model_fields.items()
        ]
    return options


def _data(fields: Mapping[str, Any], plugins: Plugins) -> type[DataSource]:
    return data_class(_name(fields, "data", DEFAULTS), plugins)


def noise_of(data: type[DataSource]) -> str:
    """Return the default label noise for this data as text, such as `symmetric, rate=0.2`."""
    options = usual_noise(data, asked=False)
    return ", ".join([options.pop("name"), *(f"{name}={one}" for name, one in options.items())])


def is_default_model(fields: Mapping[str, Any]) -> bool:
    """Return whether these settings have the default model."""
    return _name(fields, "model", DEFAULTS) == DEFAULTS["model"]


def _name(fields: Mapping[str, Any], section: str, defaults: Mapping[str, str]) -> Any:
    """Return the name of the plugin in a section, or its default."""
    default = defaults.get(section)
    table = fields.get(section, default)
    return table.get("name", default) if isinstance(table, Mapping) else table


def chosen(fields: Mapping[str, Any], defaults: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Return the plugins that settings name, or else the defaults: kind and name, by section or
    option."""
    chosen = {}
    for section, kind in sections().items():
        if (name := _name(fields, section, defaults)) is not None:
            chosen[section] = (kind.kind, str(name))
    for field, kind_name in options_that_name().items():
        section, _, option = field.partition(".")
        table, usual = fields.get(section), default_of_option(field)
        value = table.get(option) if isinstance(table, Mapping) else None
        name = value.get("name", usual) if isinstance(value, Mapping) else value or usual
        if isinstance(name, str):
            chosen[field] = (kind_name, name)
    return chosen


def changes(values: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return the settings among parsed options as dotted fields, those of `--set` first.

    Raises SddError for a `--set` that is not FIELD=VALUE.
    """
    made: list[tuple[str, Any]] = []
    for text in values.get("set_") or ():
        field, equals, value = text.partition("=")
        if not equals or not field.strip():
            raise SddError(f"--set {text!r} is not a setting; expected FIELD=VALUE, for example "
                           "--set train.epochs=30")
        made.append((field.strip(), parse_value(value.strip())))
    for name, value in values.items():
        if value is None:
            continue
        if name in sections():
            made.append((f"{name}.name", value))
        elif name in {"seed", "levels", "kernels"}:
            made.append((name, value))
        elif _SEPARATOR in name:
            made.append((name.replace(_SEPARATOR, "."), value))
    return made


def parse_choice(text: str) -> Any:
    """Parse a plugin's name, a TOML table with its options, or numbers, as in a list."""
    value = parse_value(text)
    if isinstance(value, str):
        with suppress(ValueError):
            return float(text)
    return parse_list(text) if isinstance(value, str) and "," in value else value


def parse_list(text: str) -> Any:
    """Parse a list in TOML, or separated by commas: `300,100`, `300`."""
    if text.lstrip().startswith("["):
        return parse_value(text)
    return [parse_value(word) for word in parse_words(text)]


def parse_words(text: str) -> Any:
    """Parse a list of texts in TOML, or separated by commas: `hidden*,output`; also `0`, the name
    of the first layer of a torch.nn.Sequential."""
    if text.lstrip().startswith("["):
        return parse_value(text)
    return [word for part in text.split(",") if (word := part.strip())]

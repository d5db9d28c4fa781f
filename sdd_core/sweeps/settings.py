"""Expand one file to many experiments: a list for a field gives one experiment for each value.

    seed = [0, 1, 2]
    noise.rate = [0, 0.2, 0.4]
    model.widths = [[300, 100], [100, 100]]     # a field that is itself a list: a list of lists
    train.decay.milestones = [0.5, 0.75]        # one value
    retrain = ["rewind", "scratch"]

    [[pruner]]                                  # each with its own options, lists among them
    name = "imp"
    fraction = [0.2, 0.4]
    [[pruner]]
    name = "random"

The experiments are the product of all lists, in the order of the file, the last list fastest; of
equal experiments the first is kept. The field's type decides whether a list is one value or several
values: it is several if it is nested deeper than lists of that type are.
"""

from __future__ import annotations

import inspect
import math
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from pydantic import BaseModel

from sdd_core.errors import SddError
from sdd_core.experiment.choice import default_names
from sdd_core.experiment.experiment import (
    Experiment,
    default_of_option,
    kind_of,
    options_that_name,
    sections,
)
from sdd_core.experiment.import_path import option_types
from sdd_core.experiment.keys import digest, run_name
from sdd_core.plugin.discovery import Plugins


@dataclass(frozen=True)
class Recorded:
    """The record of the runs in a store about a user's own model or data, `module:function`.

    sources: hashes of the source code that runs used. depths: nesting depth of the lists that each
    option takes.
    """

    sources: tuple[str, ...] = ("unknown",)
    depths: Mapping[str, int] = field(default_factory=dict)


def expand(
    several: Iterable[Mapping[str, Any]],
    plugins: Plugins,
    recorded: Mapping[str, Recorded] | None = None,
) -> list[Experiment]:
    """Return the experiments given by the settings of one or more files, without repetition.

    recorded: the record of each user's own model or data, by name; these are then not imported, and
        there is an experiment for each recorded source.

    Raises SddError with the first unknown or impossible field.
    """
    return list(expansion(several, plugins, recorded)[1])


def expansion(
    several: Iterable[Mapping[str, Any]],
    plugins: Plugins,
    recorded: Mapping[str, Recorded] | None = None,
) -> tuple[int, Iterator[Experiment]]:
    """Return the number of experiments before repetitions are removed, and an iterator over them.

    Arguments and errors as in `expand`.
    """
    choices = [_choices(settings, plugins, recorded) for settings in several]
    made = (Experiment.make(chosen, plugins, recorded=recorded is not None)
            for one in choices for chosen in _each(one))
    return sum(math.prod(map(len, one.values())) for one in choices), each_once(made)


def distinct(experiments: Iterable[Experiment]) -> list[Experiment]:
    """Return the experiments without repetition. Raises SddError as `each_once` does."""
    return list(each_once(experiments))


def each_once(experiments: Iterable[Experiment]) -> Iterator[Experiment]:
    """Yield the experiments without repetition, keeping none in memory. Raises SddError for two
    different ones that would have the same run folder."""
    made: set[str] = set()
    levels: dict[str, int] = {}  # by the name of the run
    for experiment in experiments:
        content = digest(experiment.to_dict())
        if content in made:
            continue
        made.add(content)
        other = levels.setdefault(run_name(experiment), experiment.levels)
        if len(levels) < len(made):
            field = "levels" if other != experiment.levels else "metrics"
            raise SddError(f"{field}: experiments that differ only in {field} are one run; give "
                           f"one value for {field}")
        yield experiment


def _choices(
    settings: Mapping[str, Any], plugins: Plugins, recorded: Mapping[str, Recorded] | None
) -> dict[str, list[Any]]:
    """Return the values of each field of a file."""
    kinds = sections()
    fields = {name: info.annotation for name, info in Experiment.model_fields.items()}
    usual = default_names(settings, plugins)
    return {
        field: _of_section(field, value, usual.get(field), plugins, recorded) if field in kinds
        else _of_field(field, value, fields.get(field), plugins)
        for field, value in settings.items()
    }


def _of_section(
    section: str, value: Any, usual: str | None, plugins: Plugins,
    recorded: Mapping[str, Recorded] | None,
) -> list[Any]:
    """Return the values of a section with a plugin: names, or tables with one value per field."""
    # A tuple may be a data object: training and test data.
    parts = _several(section, value) if isinstance(value, list) else [value]
    return [one for part in parts for one in _of_plugin(section, part, usual, plugins, recorded)]


def _of_plugin(
    section: str, value: Any, usual: str | None, plugins: Plugins,
    recorded: Mapping[str, Recorded] | None,
) -> list[Any]:
    if recorded is not None and _is_imported(section, value, plugins):
        value = {"name": value}
    if not isinstance(value, Mapping):
        return [value]
    given = value.get("name", usual)
    names = _several(f"{section}.name", given) if _is_list(given) else [given]
    tables: list[Any] = []
    for name in names:
        fields = _fields(section, name, plugins, recorded)
        choices: dict[str, list[Any]] = {
            option: [name] if option == "name"
            else _of_field(f"{section}.{option}", choice, fields.get(option), plugins)
            for option, choice in value.items()
        }
        if recorded is not None and _is_imported(section, name, plugins):
            choices.setdefault("source_hash", list(recorded.get(name, Recorded()).sources))
        tables += _product(choices)
    return tables


def _of_field(field: str, value: Any, kind: Any, plugins: Plugins) -> list[Any]:
    """Return the values of a field. kind: its type; None for an unknown field, which is refused
    when the experiment is made."""
    parts = _several(field, value) if nesting(value) > list_depth(kind) else [value]
    return [one for part in parts for one in _of_table(field, part, kind, plugins)]


def _of_table(field: str, value: Any, kind: Any, plugins: Plugins) -> list[Any]:
    if field in options_that_name():
        return _of_plugin(field, value, default_of_option(field), plugins, None)
    if not (inspect.isclass(kind) and issubclass(kind, BaseModel) and isinstance(value, Mapping)):
        return [value]
    infos = kind.model_fields
    return _product({
        name: _of_field(f"{field}.{name}", one,
                        infos[name].annotation if name in infos else None, plugins)
        for name, one in value.items()
    })


def _fields(
    section: str, name: Any, plugins: Plugins, recorded: Mapping[str, Recorded] | None
) -> Mapping[str, Any]:
    """Return the types of a plugin's options; empty for an unknown plugin, which is refused when
    the experiment is made."""
    if not isinstance(name, str):
        return {}
    try:
        if _is_imported(section, name, plugins):
            return option_types(name) if recorded is None else {
                option: _lists(depth)
                for option, depth in recorded.get(name, Recorded()).depths.items()
            }
        infos = plugins.find(kind_of(section), name)[0].model_fields
        return {option: info.annotation for option, info in infos.items()}
    except (SddError, ValueError):
        return {}


def _is_imported(section: str, name: Any, plugins: Plugins) -> bool:
    """Return whether a section names a user's own model or data, `module:function`."""
    if section not in {"model", "data"} or not isinstance(name, str) or ":" not in name:
        return False
    try:
        plugins.find(sections()[section].kind, name)
    except SddError:
        return not name.startswith("given:")
    return False


def _lists(depth: int) -> Any:
    """Return a type whose `list_depth` is `depth`."""
    return types.GenericAlias(tuple, (_lists(depth - 1), ...)) if depth else Any


def list_depth(kind: Any) -> int:
    """Return the nesting depth of lists of a type: 1 for `tuple[int, ...] | None`."""
    origin, arguments = typing.get_origin(kind) or kind, typing.get_args(kind)
    if origin is typing.Annotated:
        return list_depth(arguments[0])
    if origin in {typing.Union, types.UnionType}:
        return max(map(list_depth, arguments))
    if inspect.isclass(origin) and issubclass(origin, list | tuple | AbstractSet):
        return 1 + max(map(list_depth, arguments), default=0)
    return 0


def nesting(value: Any) -> int:
    """Return the nesting depth of lists in a value: 1 for [], 2 for [0, [1]]."""
    return 1 + max(map(nesting, value), default=0) if _is_list(value) else 0


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple | range)


def _several(field: str, values: Iterable[Any]) -> list[Any]:
    if not (several := list(values)):
        raise SddError(f"{field}: the list is empty; give at least one value, or leave the field "
                       "out")
    return several


def _product(choices: Mapping[str, list[Any]]) -> list[dict[str, Any]]:
    return list(_each(choices))


def _each(choices: Mapping[str, list[Any]]) -> Iterator[dict[str, Any]]:
    return (dict(zip(choices, values, strict=True)) for values in product(*choices.values()))

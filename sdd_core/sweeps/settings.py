"""One file, many experiments: a list for a field makes an experiment for each of its values.

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
equal ones the first stays. Whether a list is one value or several is decided by the field's type:
it is several when it is nested deeper than lists of that type are.
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
    """What the runs in a store say about a model or data of a user's own, `module:function`.

    sources: the hashes of its source that runs were carried out with. depths: of each of its
    options, how deep the lists are that it takes.
    """

    sources: tuple[str, ...] = ("unknown",)
    depths: Mapping[str, int] = field(default_factory=dict)


def expand(
    several: Iterable[Mapping[str, Any]],
    plugins: Plugins,
    recorded: Mapping[str, Recorded] | None = None,
) -> list[Experiment]:
    """The experiments that the settings of one or more files stand for, none of them twice.

    recorded: by its name, what is known of each model or data of a user's own, which is then not
        imported; of one that several sources are known of there is an experiment for each.

    Raises SddError that names the first field that is unknown or impossible.
    """
    return list(expansion(several, plugins, recorded)[1])


def expansion(
    several: Iterable[Mapping[str, Any]],
    plugins: Plugins,
    recorded: Mapping[str, Recorded] | None = None,
) -> tuple[int, Iterator[Experiment]]:
    """The same one by one, and how many there are if none of them is there twice."""
    choices = [_choices(settings, plugins, recorded) for settings in several]
    made = (Experiment.make(chosen, plugins, recorded=recorded is not None)
            for one in choices for chosen in _each(one))
    return sum(math.prod(map(len, one.values())) for one in choices), each_once(made)


def distinct(experiments: Iterable[Experiment]) -> list[Experiment]:
    """The experiments, of equal ones the first. Raises SddError as `each_once` does."""
    return list(each_once(experiments))


def each_once(experiments: Iterable[Experiment]) -> Iterator[Experiment]:
    """The experiments, of equal ones the first, of which none is kept here. Raises SddError for two
    different ones that would be carried out in one folder."""
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
            raise SddError(f"{field}: experiments that differ in nothing else are one run, which "
                           f"a sweep cannot do twice; give one value for {field}")
        yield experiment


def _choices(
    settings: Mapping[str, Any], plugins: Plugins, recorded: Mapping[str, Recorded] | None
) -> dict[str, list[Any]]:
    """The values that each field of a file is to take."""
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
    """What a section that names a plugin stands for: names, or tables with one value a field."""
    # A tuple may be data that was handed over: training and test data.
    parts = _several(section, value) if isinstance(value, list) else [value]
    return [one for part in parts for one in _of_plugin(section, part, usual, plugins, recorded)]


def _of_plugin(
    section: str, value: Any, usual: str | None, plugins: Plugins,
    recorded: Mapping[str, Recorded] | None,
) -> list[Any]:
    if recorded is not None and _is_own(section, value, plugins):
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
        if recorded is not None and _is_own(section, name, plugins):
            choices.setdefault("source_hash", list(recorded.get(name, Recorded()).sources))
        tables += _product(choices)
    return tables


def _of_field(field: str, value: Any, kind: Any, plugins: Plugins) -> list[Any]:
    """The values that a field is to take. kind: its type; None where there is no such field,
    which is refused when the experiment is made."""
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
    """The types of the options that a plugin has; nothing where there is no such plugin, which
    is refused when the experiment is made."""
    if not isinstance(name, str):
        return {}
    try:
        if _is_own(section, name, plugins):
            return option_types(name) if recorded is None else {
                option: _lists(depth)
                for option, depth in recorded.get(name, Recorded()).depths.items()
            }
        infos = plugins.find(kind_of(section), name)[0].model_fields
        return {option: info.annotation for option, info in infos.items()}
    except (SddError, ValueError):
        return {}


def _is_own(section: str, name: Any, plugins: Plugins) -> bool:
    """Whether a section names a model or data of a user's own, `module:function`."""
    if section not in {"model", "data"} or not isinstance(name, str) or ":" not in name:
        return False
    try:
        plugins.find(sections()[section].kind, name)
    except SddError:
        return not name.startswith("given:")
    return False


def _lists(depth: int) -> Any:
    """A type whose `list_depth` is `depth`."""
    return types.GenericAlias(tuple, (_lists(depth - 1), ...)) if depth else Any


def list_depth(kind: Any) -> int:
    """How deep the lists are that a field of this type holds: 1 for `tuple[int, ...] | None`."""
    origin, arguments = typing.get_origin(kind) or kind, typing.get_args(kind)
    if origin is typing.Annotated:
        return list_depth(arguments[0])
    if origin in {typing.Union, types.UnionType}:
        return max(map(list_depth, arguments))
    if inspect.isclass(origin) and issubclass(origin, list | tuple | AbstractSet):
        return 1 + max(map(list_depth, arguments), default=0)
    return 0


def nesting(value: Any) -> int:
    """How deep lists are nested in a value: 1 for [], 2 for [0, [1]]."""
    return 1 + max(map(nesting, value), default=0) if _is_list(value) else 0


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple | range)


def _several(field: str, values: Iterable[Any]) -> list[Any]:
    if not (several := list(values)):
        raise SddError(f"{field}: an empty list leaves nothing to do; give at least one value, "
                       "or leave the field out")
    return several


def _product(choices: Mapping[str, list[Any]]) -> list[dict[str, Any]]:
    return list(_each(choices))


def _each(choices: Mapping[str, list[Any]]) -> Iterator[dict[str, Any]]:
    return (dict(zip(choices, values, strict=True)) for values in product(*choices.values()))

"""Make plugins that are no part of an experiment: trackers and export formats."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from pydantic import ValidationError

from sdd_core.errors import SddError
from sdd_core.experiment.settings import first_error
from sdd_core.installation import DISTRIBUTION, install_hint
from sdd_core.plugin.base import noun
from sdd_core.plugin.discovery import Plugins
from sdd_core.plugin.kinds import KINDS, Plugin


def make_outside(kind: str, wanted: Plugin | Mapping[str, Any] | str, plugins: Plugins) -> Any:
    """Return a plugin from an instance, its name (`mlflow`, `mlflow:sqlite:///runs.db`) or a table
    of its name and options.

    Raises SddError for an unknown name, impossible options, or a missing package.
    """
    made: Any = wanted
    if not isinstance(wanted, KINDS[kind]):
        table = {"name": wanted} if isinstance(wanted, str) else dict(wanted)
        plugin, option = plugins.find(kind, str(table.pop("name", "")))
        try:
            made = plugin.model_validate({**table, **option})
        except ValidationError as error:
            raise SddError(f"{noun(plugin)} {plugin.name!r}: {first_error(error)}") from None
    if made.package and find_spec(made.package) is None:
        ours = plugins.origin(type(made))["distribution"] == DISTRIBUTION
        raise SddError(f"{noun(made)} {made.name!r} needs {made.package}, which is not installed; "
                       f"{install_hint(made.name) if ours else 'install it'}")
    return made

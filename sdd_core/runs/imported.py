"""The user's own modules that a run names: which they are, and whether they are still the same."""

from __future__ import annotations

from sdd_core.experiment import import_path
from sdd_core.experiment.experiment import Experiment
from sdd_core.experiment.import_path import Imported
from sdd_core.plugin.kinds import Plugin
from sdd_core.runs.record import Record, Source


def imported_plugins(experiment: Experiment) -> list[Imported]:
    """Return the model and the data of an experiment that the user's own modules make."""
    plugins: tuple[Plugin, ...] = (experiment.data, experiment.model)
    return [plugin for plugin in plugins if isinstance(plugin, Imported)]


def imported_modules(experiment: Experiment) -> dict[str, Source]:
    """Return the user's own modules with the experiment's model and data, by name."""
    return {name: Source(file=file, sha256=sha256) for plugin in imported_plugins(experiment)
            for name, (file, sha256) in plugin.sources().items()}


def strange_sources(plugin: Plugin, record: Record | None) -> list[str]:
    """Return the modules that a run's model or data would import and that differ from those that
    the run imported before, each with the reason. Import none."""
    if not isinstance(plugin, Imported):
        return []
    known = {name: (one.file, one.sha256) for name, one in record.modules.items()} if record else {}
    return import_path.strange_modules(plugin.path, known)

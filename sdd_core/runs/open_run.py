"""Open the run in a folder, without running any code but that of installed plugins."""

from __future__ import annotations

from pathlib import Path

from sdd_core.errors import SddError, format_error
from sdd_core.experiment.experiment import Experiment
from sdd_core.experiment.keys import run_name
from sdd_core.experiment.settings import parse_toml
from sdd_core.files.reading import Damaged, exists
from sdd_core.plugin.discovery import Plugins
from sdd_core.runs.imported import imported_plugins, strange_sources
from sdd_core.runs.record import EXPERIMENT, RECORD, read_experiment, read_record, wanted_levels
from sdd_core.runs.rows import METRICS
from sdd_core.runs.run_folder import RunFolder


def open_run(folder: Path, plugins: Plugins, *, to_resume: bool = False) -> RunFolder:
    """Return the run in a folder. Import only installed plugins.

    to_resume: accept a damaged record if the folder's name matches the experiment.

    Raises SddError when the folder has no run, or it has another version, is damaged or cannot be
    read.
    """
    file, record = folder / EXPERIMENT, None
    if not any(exists(folder / name) for name in (EXPERIMENT, METRICS)):
        raise SddError(f"{folder} is not a run folder (it has no {EXPERIMENT}); `sdd runs` lists "
                       "the runs in the store")
    try:
        record = read_record(folder)
    except Damaged:
        if not to_resume:
            raise
    content = read_experiment(folder, record)
    settings = parse_toml(content, file)
    wanted_levels(folder, None, content)  # every experiment file of a run has this field
    try:
        run = RunFolder(folder.name, folder, Experiment.make(settings, plugins, recorded=True))
        if record is None and run_name(run.experiment) != run.name:
            raise SddError(f"{folder / RECORD} is missing or damaged, and {file} is not the "
                           "experiment that belongs to this name; run the experiment again with "
                           "another --store, or delete the folder")
    except SddError:
        raise
    except Exception as error:  # a plugin got options that no run of ours would contain
        raise SddError(f"{file} cannot be read: {format_error(error)}") from None
    return run


def strange_modules(run: RunFolder) -> list[str]:
    """Return the user's own modules that resuming a run would import and that differ from those it
    imported before, each with the reason. Import none."""
    record = run.known_record()
    return [strange for plugin in imported_plugins(run.experiment)
            for strange in strange_sources(plugin, record)]

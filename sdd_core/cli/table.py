"""`sdd table`: write results as one tidy table."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sdd_core.analysis.tidy import parquet_bytes, stored_results
from sdd_core.analysis.tidy import table as tidy_table
from sdd_core.cli.completion import run_names
from sdd_core.cli.options import File, no_plugin_option, store_option
from sdd_core.cli.runs import end_with, folder_of
from sdd_core.errors import SddError
from sdd_core.experiment.import_path import Imported
from sdd_core.experiment.keys import digest, run_name
from sdd_core.experiment.settings import read_toml
from sdd_core.files.atomic import write_atomic
from sdd_core.output.notices import say, warn
from sdd_core.output.text import csv_text
from sdd_core.plugin.discovery import Plugins, load_plugins, warn_of_problems
from sdd_core.plugin.kinds import Plugin
from sdd_core.runs.open_run import open_run
from sdd_core.runs.result import Result
from sdd_core.runs.stored_runs import is_run, results_of, run_folders

if TYPE_CHECKING:
    from sdd_core.sweeps.settings import Recorded


@click.command()
@click.argument("names", metavar="[RUN|FILE]...", nargs=-1, shell_complete=run_names(files=True))
@store_option
@click.option("--output", type=File(),
              help="File to write, .csv or .parquet.  [default: CSV on standard output]")
@no_plugin_option
def table(
    names: tuple[str, ...], store: Path, output: Path | None, no_plugin: tuple[str, ...]
) -> None:
    """Write one row for each run and level, with all settings, sparsity, phase and all metrics.

    RUN is a name from `sdd runs`, a pattern such as 'digits-*', or a folder; FILE is an experiment
    or sweep file (.toml) and stands for all its runs. Default: all runs in the store. Runs that
    cannot be read are left out; the exit code is then 1.
    """
    if output is not None and output.suffix not in {".csv", ".parquet"}:
        raise SddError(f"cannot write {output}: expected a name that ends in .csv or .parquet")
    plugins = load_plugins(no_plugin)
    warn_of_problems(plugins)
    results, left_out = named_results(names, store, plugins)
    rows = tidy_table(results)
    if not rows:
        raise SddError(f"there is no finished level in {store} yet; train some with `sdd run` or "
                       "`sdd sweep`")
    numbers = csv_text(rows)
    if output is None:
        click.echo(numbers, nl=False)
    else:
        write_atomic(output, parquet_bytes(rows) if output.suffix == ".parquet" else numbers)
        say(f"wrote {output}")
    end_with(left_out)


def named_results(
    names: Sequence[str], store: Path, plugins: Plugins
) -> tuple[list[Result], list[SddError]]:
    """Return the results of the named runs, or of all runs in the store if there are no names, and
    the errors of the runs that cannot be read.

    Raises SddError for an unknown name, and where no run can be read.
    """
    if names:
        # A run that is named twice counts once.
        folders = {one.name: one for name in names for one in _named(name, store, plugins)}
        found = results_of(folders.values(), plugins)
    else:
        found = stored_results(store, plugins)
    results, left_out = found
    if left_out and not results:
        raise SddError(f"no run can be read: {left_out[0]}")
    return results, left_out


def _named(name: str, store: Path, plugins: Plugins) -> list[Path]:
    """Return the folder of a run, those that match a pattern, or those of the runs of a file that
    have begun."""
    if "*" in name:
        matching = [folder for folder in run_folders(store) if fnmatchcase(folder.name, name)]
        if not matching:
            raise SddError(f"no run in {store} matches {name!r}; `sdd runs` lists the runs")
        return matching
    if not name.endswith(".toml"):
        return [folder_of(name, store)]
    return _of_file(Path(name), store, plugins)


def _of_file(file: Path, store: Path, plugins: Plugins) -> list[Path]:
    from sdd_core.sweeps import expand  # noqa: PLC0415 (torch is too slow for shell completion)

    settings = read_toml(file)
    imported = any(":" in str(settings.get(section)) for section in ("model", "data"))
    # By the settings in the file; one setting has several runs if a source file has changed.
    runs: dict[str, list[str]] = {}
    for one in expand([settings], plugins, _recorded(store, plugins) if imported else {}):
        fields = one.to_dict()
        for section in ("model", "data"):
            fields[section].pop("source_hash", None)
        runs.setdefault(digest(fields), []).append(run_name(one))
    begun = [[store / run for run in names if is_run(store / run)] for names in runs.values()]
    if missing := begun.count([]):
        warn(f"{missing} of the {len(runs)} runs of {file} have not begun; run them with "
             f"`sdd sweep {file}`")
    return [run for names in begun for run in names]


def _recorded(store: Path, plugins: Plugins) -> dict[str, Recorded]:
    """Return what the runs in a store record about the users' own models and data, by import path,
    without importing any."""
    from sdd_core.sweeps.settings import Recorded, nesting  # noqa: PLC0415 (torch, as above)

    known: dict[str, Recorded] = {}
    for folder in run_folders(store):
        try:
            experiment = open_run(folder, plugins).experiment
        except SddError:
            continue  # reported when its results are read
        plugins_used: tuple[Plugin, ...] = (experiment.model, experiment.data)
        for one in plugins_used:
            if isinstance(one, Imported):
                before = known.get(one.path, Recorded(sources=()))
                sources = tuple(dict.fromkeys([*before.sources, one.source_hash]))
                depths = {name: nesting(value) for name, value in (one.model_extra or {}).items()}
                known[one.path] = Recorded(sources, {**before.depths, **depths})
    return known

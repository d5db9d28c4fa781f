"""`sdd table`: results as one tidy table."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import click

from sdd_core.analysis.tidy import csv_text, parquet_bytes, stored_results
from sdd_core.analysis.tidy import table as tidy_table
from sdd_core.cli.completion import run_names
from sdd_core.cli.options import no_plugin_option, store_option
from sdd_core.cli.runs import find_run, run_folders
from sdd_core.errors import SddError
from sdd_core.experiment import read_toml
from sdd_core.files import write_atomic
from sdd_core.plugin_manager import Plugins, load_plugins, warn_of_problems
from sdd_core.result import Result
from sdd_core.run_folder import Run, open_run


@click.command()
@click.argument("names", metavar="[RUN|FILE]...", nargs=-1, shell_complete=run_names(files=True))
@store_option
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False),
              help="Where to write, .csv or .parquet; CSV on standard output if not given.")
@no_plugin_option
def table(
    names: tuple[str, ...], store: Path, output: Path | None, no_plugin: tuple[str, ...]
) -> None:
    """Write one row for each run and level: every setting, sparsity, phase and every metric.

    RUN is a name that `sdd runs` lists, a pattern such as 'digits-*', or a folder; FILE an
    experiment or sweep file (.toml), for all its runs. All the runs in the store if none is given.
    """
    if output is not None and output.suffix not in {".csv", ".parquet"}:
        raise SddError(f"cannot write {output}: expected a name that ends in .csv or .parquet")
    plugins = load_plugins(no_plugin)
    warn_of_problems(plugins)
    rows = tidy_table(named_results(names, store, plugins))
    if not rows:
        raise SddError(f"there is no finished level yet in {store}; `sdd sweep` and `sdd run` "
                       "make some")
    if output is None:
        click.echo(csv_text(rows), nl=False)
    else:
        write_atomic(output, parquet_bytes(rows) if output.suffix == ".parquet" else csv_text(rows))
        click.echo(f"wrote {output}", err=True)


def named_results(names: Sequence[str], store: Path, plugins: Plugins) -> list[Result]:
    """The results that names, patterns, folders and files mean; of all runs in the store where
    there are none. Raises SddError."""
    if not names:
        return stored_results(store, plugins)
    found = {result.run: result for name in names for result in _named(name, store, plugins)}
    return list(found.values())


def _named(name: str, store: Path, plugins: Plugins) -> list[Result]:
    """The results of a run, of those that a pattern matches, or of those that a file stands for
    and that have begun."""
    if "*" in name:
        matching = [folder for folder in run_folders(store) if fnmatchcase(folder.name, name)]
        if not matching:
            raise SddError(f"no run in {store} matches {name!r}; `sdd runs` lists what is there")
        return [open_run(folder, plugins).result() for folder in matching]
    if not name.endswith(".toml"):
        return [find_run(name, store, plugins).result()]
    from sdd_core.sweeps import expand  # noqa: PLC0415 (torch, for which a shell must not wait)

    runs = [Run.of(one, store) for one in expand([read_toml(Path(name))], plugins)]
    begun = [run for run in runs if (run.folder / "record.json").exists()]
    if len(begun) < len(runs):
        print(f"sdd: warning: {len(runs) - len(begun)} of the {len(runs)} runs of {name} have not "
              f"begun; `sdd sweep {name}` carries them out", file=sys.stderr)
    return [run.result() for run in begun]

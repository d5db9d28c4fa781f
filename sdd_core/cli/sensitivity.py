"""`sdd sensitivity`: the accuracy of a network of which one layer is pruned."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from sdd_core.cli.completion import run_names
from sdd_core.cli.options import (
    File,
    Folder,
    network_options,
    no_plugin_option,
    store_option,
)
from sdd_core.cli.runs import find_run
from sdd_core.cli.settings import ExperimentCommand, changes, parse_words
from sdd_core.cli.terminal import console, echo
from sdd_core.errors import SddError
from sdd_core.experiment.experiment import Experiment
from sdd_core.experiment.settings import override, read_toml
from sdd_core.output.fitting import FittingTable
from sdd_core.plugin.discovery import load_plugins, warn_of_problems
from sdd_core.runs.result import Result

OF_A_RUN = ("pruner", "retrain.recalibrate")
"""The settings that may differ from those of the run whose level is measured."""


@click.command(cls=ExperimentCommand)
@click.argument("name", metavar="[RUN|FILE]", required=False, shell_complete=run_names(files=True))
@click.option("--level", type=click.IntRange(min=0), help="Level of RUN.  [default: 0]")
@click.option("--sparsities", default="50,70,80,90,95,98", show_default=True, metavar="LIST",
              help="Percentages of a layer's weights to prune.")
@network_options
@click.option("--trust", is_flag=True,
              help="Import the modules of the run's model and data even if they have changed.")
@click.option("--output", type=File(), default=Path("sensitivity.png"), show_default=True,
              help="File to write, .png, .svg or .pdf; the numbers go to a .csv beside it.")
@store_option
@click.option("--data-root", type=Folder(), help="Folder for data sets, also for downloads.")
@click.option("--device", help="cpu, cuda, cuda:1, ...  [default: a GPU if there is one]")
@click.option("--quiet", "-q", is_flag=True, help="Show no progress.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@no_plugin_option
def sensitivity(
    name: str | None,
    level: int | None,
    sparsities: str,
    trust: bool,
    output: Path,
    store: Path,
    data_root: Path | None,
    device: str | None,
    quiet: bool,
    as_json: bool,
    no_plugin: tuple[str, ...],
    **options: Any,
) -> None:
    """Prune one layer of a network at a time, without training, and measure its test accuracy.

    The network is that of the settings of `sdd run` before any training, for example with
    --train.pretrained, or the trained one of a level of RUN, a name from `sdd runs` or a folder.
    The pruner decides which weights of a layer go first; the row `all layers` is the one-shot curve
    of the whole network. Measurements already in the store are reused.
    """
    chosen = _sparsities(sparsities)
    plugins = load_plugins(no_plugin)
    run = None
    if name is not None and not name.endswith(".toml"):
        run = _run(name, store, plugins, trust)
        changed = changes(options)
        if other := [one for one, _ in changed if not one.startswith(OF_A_RUN)]:
            raise SddError(f"{other[0]} cannot be changed in a run; only {', '.join(OF_A_RUN)} and "
                           "their options can")
        settings = override(run.experiment.to_dict(), changed)
        experiment = Experiment.make(settings, plugins, recorded=True)
    elif level is not None:
        raise SddError("--level needs the RUN that has this level")
    else:
        settings = override(read_toml(Path(name)) if name else {}, changes(options))
        experiment = Experiment.make(settings, plugins)
    # torch and matplotlib are slow to import
    from sdd_core.layerwise.run import measured  # noqa: PLC0415
    from sdd_core.report.plot import check_form  # noqa: PLC0415

    check_form(output)
    warn_of_problems(plugins)
    found = measured(experiment, run, level or 0, chosen, store=store, data_root=data_root,
                     device=device, shown=not quiet)
    found.plot(output)
    if as_json:
        click.echo(json.dumps(found.to_json(), allow_nan=False))
        return
    table = FittingTable(*found.titles, optional=found.titles[1:-1])
    for column in table.columns[1:]:
        column.justify = "right"
    for cells in found.table():
        table.add_row(*cells)
    console().print(table)
    echo()
    echo(f"{found.network}: test accuracy {found.unpruned.test_accuracy:.3f}; {found.verdict}")
    echo(f"wrote {output}")
    echo(f"wrote {output.with_suffix('.csv')}")


def _sparsities(text: str) -> list[float]:
    """Return percentages as fractions. Raises SddError."""
    words = [word.removesuffix("%").strip() for word in map(str, parse_words(text))]
    try:
        # By text, so that 98 is 0.98 and not the nearest quotient.
        chosen = [float(f"{float(word):.12g}e-2") for word in words]
    except ValueError:
        chosen = []
    if not chosen or not all(0 < one < 1 for one in chosen):
        raise SddError(f"--sparsities {text!r} is not a list of percentages; expected numbers "
                       "between 0 and 100, such as 50,90,98")
    return chosen


def _run(name: str, store: Path, plugins: Any, trust: bool) -> Result:
    """Return the result of a run. Raises SddError if its modules are not those that it imported
    before, unless they are trusted."""
    from sdd_core.runs.open_run import strange_modules  # noqa: PLC0415

    found = find_run(name, store, plugins)
    if not trust and (strange := strange_modules(found)):
        raise SddError(f"module {strange[0]}; importing it executes it, so read it first, then use "
                       f"`sdd sensitivity --trust {found.folder}`")
    return found.result(epochs=False)

"""`sdd inspect`: list the parameters that would be pruned."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from sdd_core.cli.options import Folder, experiment_options, no_plugin_option
from sdd_core.cli.settings import ExperimentCommand, changes
from sdd_core.cli.terminal import console, echo
from sdd_core.experiment.experiment import Experiment
from sdd_core.experiment.settings import override, read_toml
from sdd_core.output.fitting import FittingTable
from sdd_core.plugin.discovery import load_plugins, warn_of_problems
from sdd_core.plugin.kinds import label

STYLES = {"prunable": "green", "exempt": "yellow", "left alone": "dim"}


@click.command(cls=ExperimentCommand)
@experiment_options
@click.option("--data-root", type=Folder(),
              help="Folder for data sets, also for downloads.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@no_plugin_option
def inspect(
    file: Path | None,
    data_root: Path | None,
    as_json: bool,
    no_plugin: tuple[str, ...],
    **options: Any,
) -> None:
    """List the parameters of the experiment's network: prunable, exempt, or left alone and why.

    The settings are those of `sdd run`. --pruner.exempt takes patterns of layers that are not
    pruned; --pruner.include takes patterns of layers that are pruned in addition to those that sdd
    knows.
    """
    plugins = load_plugins(no_plugin)
    settings = override(read_toml(file) if file else {}, changes(options))
    experiment = Experiment.make(settings, plugins)
    import torch  # noqa: PLC0415 (slow; errors in the settings are reported first)

    from sdd_core.level.inspection import parameters_of  # noqa: PLC0415
    from sdd_core.training.notes import notes  # noqa: PLC0415
    from sdd_core.training.setup import ExperimentSetup  # noqa: PLC0415

    parts = ExperimentSetup(experiment, data_root, torch.device("cpu"))
    rows = parameters_of(parts.build(0), parts.exempt, experiment.pruner.include or ())
    totals = {state: sum(row.count for row in rows if row.state == state) for state in STYLES}
    name = label(experiment.model)
    if as_json:
        click.echo(json.dumps({"model": name, "totals": totals, "parameters":
                               [asdict(row) for row in rows]}))
        return
    warn_of_problems(plugins)
    table = FittingTable("parameter", "shape", "numbers", "", "why")
    table.columns[2].justify = "right"
    for row in rows:
        shape = "x".join(map(str, row.shape)) or "1"
        cells = (row.name, shape, f"{row.count:,}", row.state, row.why)
        table.add_row(*cells, style=STYLES[row.state])
    console().print(table)
    whole = sum(totals.values())
    counts = ", ".join(f"{count:,} {state}" for state, count in totals.items() if count)
    echo()
    echo(f"{name} for {experiment.data.name}: {whole:,} parameters, {counts}")
    for line in notes(parts):
        echo(line)

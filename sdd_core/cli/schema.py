"""`sdd schema`."""

from __future__ import annotations

import json

import click

from sdd_core.cli.options import no_plugin_option
from sdd_core.experiment.schema import experiment_schema
from sdd_core.plugin.discovery import load_plugins, warn_of_problems


@click.command()
@no_plugin_option
def schema(no_plugin: tuple[str, ...]) -> None:
    """Print the JSON schema of experiment files, with the options of the installed plugins.

    Editors use it to complete and check TOML files: run `sdd schema > sdd.schema.json` and write
    `#:schema ./sdd.schema.json` in the first line of the experiment.
    """
    plugins = load_plugins(no_plugin)
    warn_of_problems(plugins)
    click.echo(json.dumps(experiment_schema(plugins), indent=1))

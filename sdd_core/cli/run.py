"""`sdd run` and `sdd resume`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from sdd_core.cli.completion import names_of
from sdd_core.cli.settings import ExperimentCommand, changes
from sdd_core.experiment import Experiment, override, read_toml
from sdd_core.plugin_manager import Plugins, load_plugins, warn_of_problems

INTERRUPTED = 130
"""The exit code of what Ctrl-C ended, as shells have it."""

store_option = click.option(
    "--store",
    type=click.Path(path_type=Path, file_okay=False),
    default="runs",
    envvar="SDD_STORE",
    show_default=True,
    show_envvar=True,
    help="Folder for runs and the levels they share.",
)
no_plugin_option = click.option(
    "--no-plugin", multiple=True, metavar="NAME", shell_complete=names_of(),
    help="Leave a plugin out; may be repeated.",
)


def _named(option: str, kind: str, says: str) -> Any:
    return click.option(option, metavar="NAME", shell_complete=names_of(kind), help=says)


def place_options(command: Any) -> Any:
    """Options that say where and how, and do not change the result."""
    for option in reversed(
        [
            store_option,
            click.option("--data-root", type=click.Path(path_type=Path, file_okay=False),
                         help="Folder where data sets are looked for and downloaded to."),
            click.option("--device", help="cpu, cuda, cuda:1, ...; a GPU if there is one."),
            click.option("--threads", type=click.IntRange(min=1), help="Threads of torch."),
            click.option("--checkpoint-minutes", type=click.FloatRange(min=0), default=2.0,
                         show_default=True, help="How much work a crash may cost."),
            click.option("--tracker", "trackers", multiple=True, metavar="NAME",
                         shell_complete=names_of("tracker"),
                         help="Send settings and curves there too; may be repeated.  "
                         "`sdd list-plugins --kind tracker`"),
            click.option("--quiet", "-q", is_flag=True, help="No progress."),
            click.option("--json", "as_json", is_flag=True,
                         help="Print the result as one JSON document."),
            no_plugin_option,
        ]
    ):
        command = option(command)
    return command


def experiment_options(command: Any) -> Any:
    """FILE and the options that say what the experiment is."""
    for option in reversed(
        [
            click.argument("file", required=False, type=click.Path(path_type=Path, dir_okay=False)),
            _named("--pruner", "pruner", "Which weights go.  [default: imp]"),
            _named("--retrain", "schedule", "How a pruned level trains.  [default: rewind]"),
            _named("--data", "data", "Data set.  [default: digits]"),
            _named("--noise", "noise", "Label noise.  [default: symmetric]"),
            _named("--model", "model", "Network, torchvision:NAME, timm:NAME or "
                   "package.module:function.  [default: mlp]"),
            _named("--loss", "loss", "What training minimises.  [default: cross-entropy]"),
            _named("--ablation", "ablation", "What is changed about each level."),
            click.option("--levels", type=int, help="How often to prune.  [default: 25]"),
            click.option("--seed", type=int, help="Of every stream of randomness.  [default: 0]"),
            click.option("--engine", type=click.Choice(["auto", "reference"]),
                         help="'reference': plain dense arithmetic and masks.  [default: auto]"),
            click.option("--set", "set_", multiple=True, metavar="FIELD=VALUE",
                         help="Set any field of the experiment; may be repeated."),
        ]
    ):
        command = option(command)
    return command


@click.command(cls=ExperimentCommand)
@experiment_options
@click.option("--metric", "metric", multiple=True, metavar="NAME",
              shell_complete=names_of("metric"),
              help="Measure this too; may be repeated.")
@place_options
def run(
    file: Path | None, no_plugin: tuple[str, ...], metric: tuple[str, ...], **options: Any
) -> None:
    """Run an experiment, or go on with it: levels that are there are not trained again.

    Settings come from FILE (TOML), then from the options. Run again with more --levels to
    continue.
    """
    plugins = load_plugins(no_plugin)
    settings = override(read_toml(file) if file else {}, changes(options))
    if metric:
        others = settings.get("metrics", plugins.default_metrics())
        settings["metrics"] = [*others, *metric]
    carry_out(Experiment.make(settings, plugins), plugins, **options)


@click.command()
@click.argument("name", metavar="RUN")
@place_options
def resume(name: str, store: Path, no_plugin: tuple[str, ...], **options: Any) -> None:
    """Go on with RUN: a name that `sdd runs` lists, or a run's folder."""
    from sdd_core.cli.runs import find_run  # noqa: PLC0415

    plugins = load_plugins(no_plugin)
    found = find_run(name, store, plugins)
    # A run goes on in the store that it lies in.
    carry_out(found.experiment, plugins, store=found.folder.parent, **options)


def carry_out(experiment: Experiment, plugins: Plugins, **options: Any) -> None:
    """Run the experiment, write its report and print what was found."""
    import torch  # noqa: PLC0415 (what is wrong with the settings is said before torch is there)

    from sdd_core.engine import run as run_experiment  # noqa: PLC0415
    from sdd_core.progress import progress_for  # noqa: PLC0415
    from sdd_core.report import write_report  # noqa: PLC0415
    from sdd_core.tracking import make_trackers, tracking  # noqa: PLC0415

    trackers = make_trackers(options["trackers"], plugins)
    warn_of_problems(plugins)
    if options["threads"]:
        torch.set_num_threads(options["threads"])
    try:
        showing = progress_for(sys.stderr, options["quiet"])
        with showing as progress, tracking(trackers) as telling:
            result = run_experiment(
                experiment,
                store=options["store"],
                plugins=plugins,
                observers=[*progress, *telling],
                data_root=options["data_root"],
                device=options["device"],
                checkpoint_minutes=options["checkpoint_minutes"],
            )
    except KeyboardInterrupt:
        click.echo("stopped; the same command goes on from here", err=True)
        raise click.exceptions.Exit(INTERRUPTED) from None
    files = write_report(result, result.folder / "report")
    if options["as_json"]:
        click.echo(json.dumps(result.to_json(), allow_nan=False))
    elif options["quiet"]:
        click.echo(result.folder)
    else:
        from sdd_core.cli.runs import print_result  # noqa: PLC0415

        print_result(result, files)

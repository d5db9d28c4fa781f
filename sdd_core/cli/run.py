"""`sdd run` and `sdd resume`."""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any

import click

from sdd_core.cli.completion import names_of, run_names
from sdd_core.cli.interrupts import Interrupts
from sdd_core.cli.options import (
    experiment_options,
    place_options,
)
from sdd_core.cli.settings import ExperimentCommand, changes, is_default_model
from sdd_core.cli.terminal import echo
from sdd_core.errors import SddError
from sdd_core.experiment.experiment import Experiment
from sdd_core.experiment.keys import run_name
from sdd_core.experiment.settings import override, parse_value, read_toml
from sdd_core.experiment.train import Train
from sdd_core.plugin.discovery import Plugins, load_plugins, warn_of_problems
from sdd_core.sparse import ahead


class _Run(ExperimentCommand):
    """A command that trains."""

    def prepare(self, fields: Mapping[str, Any], values: Mapping[str, Any]) -> None:
        """Begin to compile the kernels of the default model. Those of others depend on their
        layers, which are known when the data is."""
        train = fields.get("train")
        given = train.get("batch_size") if isinstance(train, Mapping) else None
        size = parse_value(given) if isinstance(given, str) else given
        if size is None:
            size = Train.model_fields["batch_size"].default
        on_cpu = str(values.get("device", "cpu")).startswith("cpu")
        if is_default_model(fields) and fields.get("kernels", "auto") == "auto" and on_cpu and (
            isinstance(size, int) and size > 0
        ):
            ahead.start(ahead.Needed.by_batch(size))


@click.command(cls=_Run)
@experiment_options
@click.option("--metric", "metric", multiple=True, metavar="NAME",
              shell_complete=names_of("metric"),
              help="Additional metric; may be repeated.")
@place_options
def run(
    file: Path | None, no_plugin: tuple[str, ...], metric: tuple[str, ...], **options: Any
) -> None:
    """Run or resume an experiment. Levels already in the store are reused.

    Settings come from FILE (TOML), then from the options. To continue, run again with more
    --levels.
    """
    plugins = load_plugins(no_plugin)
    settings = override(read_toml(file) if file else {}, changes(options))
    if metric:
        others = settings.get("metrics", plugins.default_metrics())
        known = {getattr(one, "name", one) for one in others if not isinstance(one, dict)}
        settings["metrics"] = [*others, *(name for name in metric if name not in known)]
    carry_out(Experiment.make(settings, plugins), plugins, **options)


@click.command()
@click.argument("name", metavar="RUN", shell_complete=run_names())
@click.option("--trust", is_flag=True,
              help="Import the modules of the run's model and data even if they have changed.")
@place_options
def resume(
    name: str, trust: bool, store: Path, no_plugin: tuple[str, ...], **options: Any
) -> None:
    """Resume RUN: a name from `sdd runs`, or a run's folder. Damaged files are made again.

    Your own model or data, `module:function`, is imported, which executes it. If the module is not
    the one that the run imported before, this needs --trust.
    """
    from sdd_core.cli.runs import find_run  # noqa: PLC0415
    from sdd_core.runs.open_run import strange_modules  # noqa: PLC0415

    plugins = load_plugins(no_plugin)
    found = find_run(name, store, plugins, to_resume=True)
    if run_name(found.experiment) != found.folder.name:
        raise SddError(f"{found.folder / 'experiment.toml'} is not the experiment that the run "
                       "began with, or a plugin now interprets it differently; restore it, or "
                       "start a new run with `sdd run FILE`")
    if not trust and (strange := strange_modules(found)):
        raise SddError(f"module {strange[0]}; importing it executes it, so read it first, then use "
                       f"`sdd resume --trust {found.folder}`")
    # A run is resumed in the store that contains it.
    carry_out(found.experiment, plugins, store=found.folder.parent, **options)


def carry_out(experiment: Experiment, plugins: Plugins, **options: Any) -> None:
    """Run the experiment, write its report and print the findings."""
    import torch  # noqa: PLC0415 (slow; errors in the settings are reported first)

    from sdd_core.engine import run as run_experiment  # noqa: PLC0415
    from sdd_core.observers.progress import progress_for  # noqa: PLC0415
    from sdd_core.observers.tracking import make_trackers, tracking  # noqa: PLC0415
    from sdd_core.report import write_report  # noqa: PLC0415

    # What is imported stays: collections need not look at it.
    gc.freeze()
    trackers = make_trackers(options["trackers"], plugins)
    warn_of_problems(plugins)
    if options["threads"]:
        torch.set_num_threads(options["threads"])
    # A daemon, because an error or Ctrl-C must not wait for it.
    Thread(target=_import_matplotlib, daemon=True).start()
    showing = progress_for(sys.stderr, options["quiet"])
    with showing as progress, tracking(trackers) as trackings, Interrupts() as interrupts:
        result = run_experiment(
            experiment,
            store=options["store"],
            plugins=plugins,
            observers=[*progress, *trackings, interrupts],
            data_root=options["data_root"],
            device=options["device"],
            checkpoint_minutes=options["checkpoint_minutes"],
        )
    files = write_report(result, result.folder / "report")
    if options["as_json"]:
        click.echo(json.dumps(result.to_json(), allow_nan=False))
    elif options["quiet"]:
        echo(result.folder)
    else:
        from sdd_core.cli.runs import print_result  # noqa: PLC0415

        print_result(result, files)


def _import_matplotlib() -> None:
    """Import what draws the figure, a second's work, while kernels are compiled or run."""
    with suppress(Exception):  # then the report says what is wrong
        import sdd_core.report.figure  # noqa: F401, PLC0415

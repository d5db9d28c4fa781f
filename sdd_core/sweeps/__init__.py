"""Sweeps: run many experiments, over seeds, noise rates, pruners, schedules, ..."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from sdd_core.analysis.recommendation import with_recommendation
from sdd_core.errors import SddError
from sdd_core.experiment.settings import first_error, read_toml
from sdd_core.observers.tracking import make_trackers
from sdd_core.plugin.discovery import Plugins, load_plugins
from sdd_core.plugin.kinds import Executor, Tracker
from sdd_core.runs.result import Result
from sdd_core.runs.run_folder import RunFolder
from sdd_core.sweeps.plan import Plan
from sdd_core.sweeps.progress import Silent
from sdd_core.sweeps.scheduler import Progress, execute_all
from sdd_core.sweeps.settings import expand
from sdd_core.sweeps.work import RunOptions

__all__ = ["SweepError", "execute_plan", "expand", "make_executor", "sweep"]

Settings = Mapping[str, Any] | Path | str


class SweepError(SddError):
    """The error of a sweep with failed runs.

    failures: the reasons, one line each, by run name. results: those of the finished runs.
    """

    def __init__(self, failures: Mapping[str, str], results: Sequence[Result]) -> None:
        self.failures = dict(failures)
        self.results = list(results)
        name, reason = next(iter(failures.items()))
        more = f" (and {len(failures) - 1} more)" if len(failures) > 1 else ""
        runs = len(failures) + len(results)
        super().__init__(f"{len(failures)} of {runs} runs failed: {name}: {reason}{more}")


def sweep(
    settings: Settings | Sequence[Settings],
    *,
    store: Path | str = "runs",
    workers: int | None = None,
    executor: Executor | Mapping[str, Any] | str = "local",
    plugins: Plugins | None = None,
    data_root: Path | str | None = None,
    device: str | None = None,
    checkpoint_minutes: float = 2.0,
    trackers: Sequence[Tracker | Mapping[str, Any] | str] | Tracker | str = (),
) -> list[Result]:
    """Run all experiments given by settings with lists. Levels that they have in common are trained
    once.

    Args:
        settings: nested settings or an experiment file, or several of them, in which a field may
            have a list of values (see `sdd_core.sweeps.settings`).
        workers: number of experiments at a time. Default: one per core.
        executor: where to run, as a plugin, its name, or a table of its name and options.
        trackers: receive each run from the worker that executes it: its levels, and the epochs of
            the levels that the worker trains itself.

    The other arguments are those of `sdd_core.run`. Workers load the installed plugins.

    Returns:
        The results, in the order of the lists, the last list fastest.

    Raises:
        SddError: a setting is unknown or impossible; nothing was run.
        SweepError: some runs failed; all others are finished.
    """
    plugins = plugins or load_plugins()
    files = [settings] if isinstance(settings, Mapping | Path | str) else settings
    read = [one if isinstance(one, Mapping) else read_toml(Path(one)) for one in files]
    if not isinstance(executor, Executor):
        named = {"name": executor} if isinstance(executor, str) else executor
        executor = make_executor(named, plugins)
    if workers is not None:
        executor = _checked(type(executor), {**dict(executor), "workers": workers})
    root = Path(data_root).absolute() if data_root is not None else None
    place = RunOptions(Path(store).absolute(), root, device, checkpoint_minutes, plugins.blocked,
                  tuple(make_trackers(trackers, plugins)))
    plan = Plan.of(expand(read, plugins))
    failures, results = execute_plan(plan, executor, place, Silent())
    if failures:
        raise SweepError(failures, results)
    return results


def make_executor(options: Mapping[str, Any], plugins: Plugins) -> Executor:
    """Return the executor with a name and options. Raises SddError if they are unknown or
    impossible."""
    kind = plugins.get("executor", str(options["name"]))
    assert issubclass(kind, Executor)
    return _checked(kind, {k: v for k, v in options.items() if k != "name"})


def _checked(kind: type[Executor], options: Mapping[str, Any]) -> Executor:
    try:
        return kind.model_validate(options)
    except ValidationError as error:
        raise SddError(f"executor.{first_error(error)}") from None


def execute_plan(
    plan: Plan, executor: Executor, place: RunOptions, progress: Progress
) -> tuple[dict[str, str], list[Result]]:
    """Execute a plan's runs. Return the reasons of failed runs by name, and the other results.

    Raises SddError when a run's folder has another version, or no worker can start.
    """
    runs = [RunFolder.of(experiment, place.store) for experiment in plan.experiments]
    pool = executor.open(len(runs))
    failed, measured = execute_all(plan, pool, place, progress)
    failures = {plan.names[run]: reason for run, reason in sorted(failed.items())}
    return failures, [
        with_recommendation(replace(runs[position].result(epochs=False), levels=levels))
        for position, levels in sorted(measured.items())
    ]

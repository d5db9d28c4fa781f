"""`sdd_core.sensitivity`: the sensitivity of an experiment's network, or of a level of a run."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from sdd_core.api import experiment_of
from sdd_core.errors import SddError
from sdd_core.experiment.experiment import Experiment
from sdd_core.experiment.keys import dense_key
from sdd_core.files.entries import damaged_file
from sdd_core.layerwise.measure import Measurement, Report
from sdd_core.layerwise.sensitivity import Sensitivity
from sdd_core.level import masks as masking
from sdd_core.level.level import Level
from sdd_core.observers.progress import in_notebook
from sdd_core.output.console import level_bar, notice_console
from sdd_core.output.notices import say
from sdd_core.plugin.discovery import Plugins, load_plugins
from sdd_core.runs.level_files import read_level
from sdd_core.runs.result import Result
from sdd_core.runs.store import Store
from sdd_core.training.level_trainer import LevelTrainer
from sdd_core.training.setup import ExperimentSetup
from sdd_core.training.states import masked
from sdd_core.training.surroundings import isolated_randomness, usable_device

SPARSITIES = (0.5, 0.7, 0.8, 0.9, 0.95, 0.98)
"""The sparsities at which a layer is measured by default."""

NEAR_CHANCE = 1.5
"""Multiple of the accuracy of guessing below which a network counts as untrained."""


def sensitivity(
    experiment: Experiment | Result | Mapping[str, Any] | None = None,
    *,
    level: int = 0,
    sparsities: Sequence[float] = SPARSITIES,
    train: Any = None,
    test: Any = None,
    store: Path | str = "runs",
    plugins: Plugins | None = None,
    data_root: Path | str | None = None,
    device: torch.device | str | None = None,
    progress: bool | None = None,
    **settings: Any,
) -> Sensitivity:
    """Prune one layer of a network at a time, without training, and measure it on the test set.

        sensitivity(model=network, train=(images, labels), test=test_set)
        sensitivity(run(levels=5), level=3, pruner="random")

    Args:
        experiment: an experiment, or nested settings as in an experiment file, whose network is
            measured as it is before training, given or pretrained; or the result of a run.
        level: for the result of a run, the level of which the trained network is measured.
        sparsities: fractions of a layer's weights to prune, between 0 and 1.
        train, test, settings: see `sdd_core.run`. Of the result of a run, only `pruner` and
            `retrain` may be changed.
        store: folder for the measurements; those already there are reused.
        data_root: folder of data sets, also for downloads.
        device: device to compute on (default: a GPU if available).
        progress: whether to show progress on standard error (default: only in a notebook).

    The pruner decides which weights of a layer go first, and the sparsities replace its own.
    `retrain.recalibrate` estimates batch normalisations anew in each pruned network.

    Raises:
        SddError: an error that the user can fix.
    """
    plugins = plugins or load_plugins()
    run = experiment if isinstance(experiment, Result) else None
    if run is not None and (other := sorted(settings.keys() - {"pruner", "retrain"})):
        raise SddError(f"{other[0]}: a run has its own; only pruner and retrain can be changed")
    given = run.experiment if run else experiment
    assert not isinstance(given, Result)
    made = experiment_of(given, train, test, settings, plugins)
    shown = in_notebook() if progress is None else progress
    return measured(made, run, level, sparsities, store=Path(store),
                    data_root=None if data_root is None else Path(data_root), device=device,
                    shown=shown)


def measured(
    experiment: Experiment,
    run: Result | None,
    level: int,
    sparsities: Sequence[float],
    *,
    store: Path,
    data_root: Path | None,
    device: torch.device | str | None,
    shown: bool,
) -> Sensitivity:
    """Return the sensitivity of an experiment's network before its training, or of a level of a
    run, which is in the store that contains the run. shown: show progress. Raises SddError."""
    chosen = checked_sparsities(sparsities)
    # Without levels, because the network is not pruned level by level.
    plain: dict[str, Any] = {"levels": 0, "ablation": None}
    if run is None:
        # How the network would be trained does not matter.
        plain["train"] = experiment.train.model_copy(update={"epochs": 0})
    with isolated_randomness():
        setup = ExperimentSetup(experiment.model_copy(update=plain), data_root,
                                usable_device(device))
        place = Store(store if run is None else run.folder.parent)
        trainer = LevelTrainer(setup, place, 60, _call_nobody)
        initial = trainer.dense_state_at(0)
        if run is None:
            masks = setup.given_masks or masking.full_masks(setup.prunable)
            found, key = Level(0, masks, masked(initial, masks), ()), dense_key(setup.experiment)
        else:
            found, key = _level_of(run, level)
        with _progress(shown) as report:
            made = Measurement(setup, place, found, key, initial, chosen).measure(report)
    if made.unpruned.test_accuracy < NEAR_CHANCE / setup.data.num_classes:
        say(f"sdd: the network as it is has a test accuracy of {made.unpruned.test_accuracy:.3f}, "
            "near chance; give it trained weights (train.pretrained), or name a run")
    return made


def checked_sparsities(given: Sequence[float]) -> tuple[float, ...]:
    """Return sparsities in growing order, each once. Raises SddError for none or impossible ones.
    """
    chosen = tuple(sorted({float(one) for one in given}))
    if not chosen or not all(0 < one < 1 for one in chosen):
        raise SddError(f"sparsities {list(given)}: expected one or more numbers between 0 and 1, "
                       "such as 0.5, 0.9")
    return chosen


def _level_of(run: Result, index: int) -> tuple[Level, str]:
    """Return a trained level of a run, and its key. Raises SddError."""
    if not 0 <= index < len(run.levels):
        raise SddError(f"run {run.run} has no level {index}; it has 0 to {len(run.levels) - 1}")
    folder, key = run.folder / "levels" / f"{index:02d}", run.levels[index].key
    if damaged := damaged_file(folder):
        raise SddError(f"level {index} of run {run.run} is damaged ({damaged}); `sdd resume "
                       f"{run.folder}` trains it again")
    level = read_level(folder, key)
    if level.diverged:
        raise SddError(f"level {index} of run {run.run} diverged; choose another level")
    return level, key


@contextmanager
def _progress(shown: bool) -> Iterator[Report]:
    """Yield what shows the progress: a bar on a terminal, a line per layer in a pipe."""
    console = notice_console(sys.stderr)
    if not shown:
        yield lambda row, number, rows: None
    elif not console.is_terminal:
        yield lambda row, number, rows: console.say(f"layer {number}/{rows - 1}  {row}")
    else:
        with level_bar("layer", console) as bar:
            task = bar.add_task("", total=None)
            yield lambda row, number, rows: bar.update(task, completed=number, total=rows,
                                                       description=row)


def _call_nobody(hook: str, **arguments: Any) -> None:
    """There are no observers, because nothing is trained."""

"""Groups of runs that differ only in their seed: means and deviations by level."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean, stdev
from typing import Any

import numpy as np

from sdd_core.errors import SddError
from sdd_core.experiment.experiment import Experiment, plugins_of
from sdd_core.output.brief import brief, numbers
from sdd_core.phases.guessing import guessing_accuracy
from sdd_core.phases.phases import Phases, find_phases
from sdd_core.runs.result import Result

NOT_A_DIFFERENCE = {"seed", "levels", "metrics"}
"""Settings that may differ within a group, because they do not change any level."""

SECTIONS = ("data", "noise", "model", "pruner", "retrain")
"""The sections in the label of a single group."""

SHORT = {"noise.rate": "noise"}
"""Short names of settings in labels."""


@dataclass(frozen=True)
class Statistics:
    """Statistics of a metric over seeds, at every level.

    mean: NaN if no seed has a value. deviation: the sample standard deviation, NaN for fewer than
    two values. count: the number of values. diverged: the number of seeds that diverged at the
    level, whose values are excluded.
    """

    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    count: tuple[int, ...]
    diverged: tuple[int, ...]

    def __repr__(self) -> str:
        return f"<Statistics of {len(self.mean)} levels: mean {numbers(self.mean)}>"

    @property
    def error(self) -> tuple[float, ...]:
        """The standard error of the means; NaN for fewer than two values."""
        return tuple(d / math.sqrt(n) if n else math.nan
                     for d, n in zip(self.deviation, self.count, strict=True))


@dataclass(frozen=True)
class Group:
    """Runs of one experiment with different seeds.

    label: the settings in which the group differs from the others, "pruner imp, noise 0.2".
    """

    label: str
    results: tuple[Result, ...]

    def __repr__(self) -> str:
        seeds = f"{len(self.seeds)} seed{'s' * (len(self.seeds) != 1)}"
        return f"<Group {brief(self.label)}: {seeds}, {len(self.sparsity)} levels>"

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds, in their order."""
        return tuple(result.experiment.seed for result in self.results)

    @property
    def test_examples(self) -> int:
        """The size of the test set."""
        return self.results[0].test_examples

    @property
    def classes(self) -> int | None:
        """The number of classes; None if it was not recorded."""
        return self.results[0].classes

    @property
    def guessing(self) -> float:
        """The accuracy of the best constant answer on the test set; 1 / classes if it was not
        recorded, and 0 if that was not recorded either."""
        return guessing_accuracy(self.classes, self.results[0].guessing)

    @cached_property
    def sparsity(self) -> list[float]:
        """The mean sparsity of every level, up to the last level of the longest run."""
        deepest = max(len(result.levels) for result in self.results)
        columns = ([result.levels[level].sparsity for result in self._reaching(level)]
                   for level in range(deepest))
        # Avoid rounding errors in the mean of equal numbers.
        return [fmean(column) if len(set(column)) > 1 else column[0] for column in columns]

    def values(self, metric: str) -> np.ndarray:
        """Return a metric of every seed at every level, float64 `[seeds, levels]`; NaN if a seed
        did not reach the level, diverged or has no number."""
        values = np.full((len(self.results), len(self.sparsity)), math.nan)
        for seed, result in enumerate(self.results):
            for number, level in enumerate(result.levels):
                if not level.diverged:
                    values[seed, number] = level.number(metric)
        return values

    def mean(self, metric: str) -> tuple[float, ...]:
        """Return the mean of a metric at every level, over the seeds with a value; NaN without any.
        """
        return tuple(fmean(some) if some else math.nan for some in self._known(metric))

    def statistics(self, metric: str) -> Statistics:
        """Return a metric's statistics, over the seeds that reached a level and did not diverge."""
        values = self._known(metric)
        return Statistics(
            self.mean(metric),
            tuple(stdev(some) if len(some) > 1 else math.nan for some in values),
            tuple(map(len, values)),
            tuple(sum(result.levels[level].diverged for result in self._reaching(level))
                  for level in range(len(self.sparsity))),
        )

    @cached_property
    def phases(self) -> Phases:
        """The phases of the mean test accuracy, over the levels that every seed has reached."""
        common = min(len(result.levels) for result in self.results)
        values = self.values("test_accuracy")[:, :common]
        return find_phases(self.sparsity[:common], values, self.test_examples, self.classes,
                           self.guessing)

    def complete(self, metric: str) -> tuple[np.ndarray, list[int]]:
        """Return the values `[seeds, levels]` of the levels for which every seed has one, and these
        levels. A seed without any value does not count."""
        values = self.values(metric)
        values = values[~np.isnan(values).all(axis=1)]
        levels = np.flatnonzero(~np.isnan(values).any(axis=0)) if len(values) else np.array([], int)
        return values[:, levels], levels.tolist()

    def whole(self, metric: str) -> tuple[float, ...]:
        """Return the mean of a metric at every level; NaN where it is not `complete`, because the
        mean of the others would be that of other seeds than elsewhere."""
        _, levels = self.complete(metric)
        mean = self.mean(metric)
        return tuple(mean[level] if level in levels else math.nan for level in range(len(mean)))

    def _known(self, metric: str) -> list[list[float]]:
        """Return the known values of all seeds, for every level."""
        return [column[~np.isnan(column)].tolist() for column in self.values(metric).T]

    def _reaching(self, level: int) -> list[Result]:
        return [result for result in self.results if len(result.levels) > level]


def group(results: Iterable[Result]) -> list[Group]:
    """Results by what they have in common but the seed, in the order in which they come.

    A run that comes twice counts once, with the most levels of the two. Raises SddError when a
    result has no level.
    """
    found: dict[tuple[Any, ...], dict[int, Result]] = {}
    for result in results:
        if not result.levels:
            raise SddError(f"run {result.run} has no finished level yet; resume it with "
                           f"`sdd resume {result.folder}`")
        settings = result.experiment.settings()
        key = tuple(item for item in settings.items() if item[0] not in NOT_A_DIFFERENCE)
        seeds = found.setdefault(key, {})
        known = seeds.get(result.experiment.seed)
        if known is None or len(known.levels) < len(result.levels):
            seeds[result.experiment.seed] = result
    usual = [_at_default(next(iter(seeds.values())).experiment) for seeds in found.values()]
    labels = _labels([dict(key) for key in found], usual)
    return [
        Group(label, tuple(seeds[seed] for seed in sorted(seeds)))
        for label, seeds in zip(labels, found.values(), strict=True)
    ]


def place(sparsity: float) -> float:
    """Return the position of a sparsity on an axis: the logarithm of 1 / density, so that equal
    fractions of the remaining weights are equal steps. Densities below 0.001 % count as that."""
    return -math.log(max(1 - sparsity, 1e-5))


def _at_default(experiment: Experiment) -> set[str]:
    """Return the options of plugins that have their default value."""
    return {f"{section}.{option}" for section, plugin in plugins_of(experiment).items()
            for option, info in type(plugin).model_fields.items()
            if getattr(plugin, option) == info.get_default(call_default_factory=True)}


def _labels(
    experiments: Sequence[Mapping[str, Any]], usual: Sequence[Collection[str]]
) -> list[str]:
    """Return a short label for each experiment, with the settings in which they differ.

    usual: the options of each that have their default value. An option that has it in all of them
    is said by the plugin's name, although the defaults of several plugins differ.
    """
    if len(experiments) == 1:
        only = experiments[0]
        noise, rate = only["noise.name"], only.get("noise.rate")
        names = {name: str(only[f"{name}.name"]) for name in SECTIONS}
        names["noise"] = f"noise {noise}" if noise == "none" else f"noise {noise} {rate:g}"
        return [", ".join(names.values())]
    experiments = [_with_no_noise_at_rate_0(experiment) for experiment in experiments]
    fields = dict.fromkeys(field for experiment in experiments for field in experiment)
    differing = [
        field for field in fields if _differ(field, experiments)
        and not all(field in some and _name_of_plugin(field) in one
                    for one, some in zip(experiments, usual, strict=True) if field in one)
    ]
    return [
        ", ".join(_named(field, experiment[field]) for field in differing if field in experiment)
        for experiment in experiments
    ]


def _name_of_plugin(option: str) -> str:
    return f"{option.rpartition('.')[0]}.name"


def _with_no_noise_at_rate_0(experiment: Mapping[str, Any]) -> dict[str, Any]:
    # Among runs with several rates, no noise counts as the rate 0, not as another method.
    if experiment.get("noise.name") != "none":
        return dict(experiment)
    return {**{f: v for f, v in experiment.items() if f != "noise.name"}, "noise.rate": 0}


def _differ(field: str, experiments: Sequence[Mapping[str, Any]]) -> bool:
    # Compare only experiments that have the field: options belong to one plugin.
    return len({experiment[field] for experiment in experiments if field in experiment}) > 1


def _named(field: str, value: Any) -> str:
    name = SHORT.get(field, field.removesuffix(".name").removeprefix("train."))
    return f"{name} {'none' if value is None else value}"

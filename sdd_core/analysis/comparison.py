"""Comparison of two groups of runs, level by level."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby

import numpy as np

from sdd_core.analysis.groups import Group
from sdd_core.errors import SddError
from sdd_core.output.text import percent
from sdd_core.phases.chance import SEVERAL, largest_t, t_statistics


@dataclass(frozen=True)
class Comparison:
    """A comparison of two groups, level by level.

    sparsity: that of the common levels. difference: mean of `one` minus mean of `other`.
    t: the difference in standard errors, whose variance is pooled over neighbouring levels; 0 if a
        seed has no value, NaN if there are too few seeds to compare.
    limit: the |t| that chance exceeds at any level in 5 of 100 comparisons of equal groups (max-t,
        Westfall & Young, 1993), under the measured correlation between levels; NaN if there are too
        few seeds.
    pairs: the number of common seeds, whose runs are compared in pairs; 0 if unpaired.
    """

    one: str
    other: str
    metric: str
    sparsity: tuple[float, ...]
    difference: tuple[float, ...]
    t: tuple[float, ...]
    limit: float
    pairs: int

    def __repr__(self) -> str:
        return (f"<Comparison of {self.metric} at {len(self.sparsity)} sparsities: "
                f"{self.verdict}>")

    @cached_property
    def signs(self) -> tuple[int, ...]:
        """For each level: 1 if `one` is higher by more than chance, -1 if it is lower, else 0."""
        return tuple(int(math.copysign(1, t)) if abs(t) > self.limit else 0 for t in self.t)

    @cached_property
    def verdict(self) -> str:
        """The sparsities at which one group is better, in one line."""
        if math.isnan(self.limit):
            if not any(map(math.isfinite, self.difference)):
                return (f"{self.one} and {self.other} cannot be compared: they have no "
                        f"{self.metric} at a common level")
            return (f"{self.one} and {self.other} cannot be compared: it takes {SEVERAL} seeds of "
                    "each to tell a difference from chance")
        spans = []
        for sign, levels in groupby(range(len(self.signs)), self.signs.__getitem__):
            span = [percent(self.sparsity[level]) for level in levels]
            if sign:
                spans.append((sign, f"between {span[0]} and {span[-1]}" if len(span) > 1
                              else f"at {span[0]}"))
        if not spans:
            return f"{self.one} and {self.other} do not differ by more than chance in {self.metric}"
        parts = [
            f"{verb} {' and '.join(where for sign, where in spans if sign == side)}"
            for side, verb in ((-1, f"loses to {self.other}"), (1, f"beats {self.other}"))
            if any(sign == side for sign, _ in spans)
        ]
        return f"{self.one} {', and '.join(parts)}"


def compare(one: Group, other: Group, metric: str = "test_accuracy") -> Comparison:
    """Compare two groups at the levels whose densities agree within 2 %.

    Higher values of the metric count as better. Common seeds are compared in pairs: they share
    their data, their label noise and often their dense network, so much of their noise is the same.
    Groups without common seeds are compared by their means.

    Raises SddError if the groups have no sparsity in common.
    """
    levels = [(i, min(range(len(other.sparsity)),
                      key=lambda j: abs(other.sparsity[j] - one.sparsity[i])))
              for i in range(len(one.sparsity))]
    levels = [(i, j) for i, j in levels if _agree(one.sparsity[i], other.sparsity[j])]
    if not levels:
        raise SddError(f"{one.label} and {other.label} have no sparsity in common; compare runs "
                       "with the same pruner.fraction or pruner.sparsity")
    values = [one.values(metric)[:, [i for i, _ in levels]],
              other.values(metric)[:, [j for _, j in levels]]]
    means = [group.mean(metric) for group in (one, other)]
    common = sorted(set(one.seeds) & set(other.seeds))
    samples = values
    if len(common) >= SEVERAL or common == list(one.seeds) == list(other.seeds):
        samples = [values[0][[one.seeds.index(seed) for seed in common]]
                   - values[1][[other.seeds.index(seed) for seed in common]]]
    t, limit = _tested(samples)
    return Comparison(
        _without_common(one.label, other.label),
        _without_common(other.label, one.label),
        metric,
        tuple(one.sparsity[i] for i, _ in levels),
        tuple(means[0][i] - means[1][j] for i, j in levels),
        t,
        limit,
        len(common) if len(samples) == 1 else 0,
    )


def _tested(samples: list[np.ndarray]) -> tuple[tuple[float, ...], float]:
    """Return the t of every level and the limit, for one sample of differences or two of values."""
    levels = samples[0].shape[1]
    # Levels that all pairs share, such as the dense network, do not show the noise of others.
    known = ~np.isnan(np.concatenate(samples)).any(axis=0)
    if min(map(len, samples)) < SEVERAL or not known.any():
        return (math.nan,) * levels, math.nan
    if len(samples) == 1:
        known &= (samples[0] != 0).any(axis=0)
    t = np.zeros(levels)
    if not known.any():
        return tuple(t.tolist()), math.inf
    chosen = [one[:, known] for one in samples]
    t[known] = t_statistics(chosen)
    return tuple(t.tolist()), largest_t(chosen)


def _without_common(label: str, other: str) -> str:
    """Return the parts of a label that the other does not have; the whole label if there are none.
    """
    parts = [part for part in label.split(", ") if part not in other.split(", ")]
    return ", ".join(parts) or label


def _agree(one: float, other: float) -> bool:
    return abs(one - other) <= 0.02 * max(1 - one, 1 - other)

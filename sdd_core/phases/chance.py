"""The effect of chance on curves, and limits above which a difference is more than chance.

Neighbouring levels of a run share their data, their dense network, most of their mask and their
test images, so their noise is correlated: correlations of 0.5 to 0.9 between neighbours were
measured. The limits are therefore quantiles of simulated curves with correlated noise, a
first-order autoregression. The simulations use fixed seeds, so the limits are reproducible.

`benchmarks/verdicts.py` measures the error rates of the rules that use them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from sdd_core.phases.curves import Array, below, falls_and_rises, ratio, smoothed

CORRELATIONS = (0.0, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95)
"""Correlations between neighbouring levels for which limits are simulated."""

LEAST_FAVOURABLE = (0.5, 0.7, 0.9)
"""The correlations that give the largest limits for one curve: the first two with several seeds,
the last with one."""

ALPHA = 0.04
"""The rate at which chance exceeds a limit: slightly less than the documented 5 %, because
correlations and variances are estimated."""

SEVERAL = 3
"""The minimum number of seeds to measure the noise between seeds instead of along the curve."""

LONG = 12
"""The minimum number of levels to measure the noise of one or two seeds along the curve."""

NEIGHBOURS = 3
"""The number of levels on each side whose variances are pooled."""

DRAWS = 2500


def autoregressive(generator: np.random.Generator, shape: tuple[int, ...], rho: float) -> Array:
    """Return noise of unit variance and this shape, whose neighbours on the last axis have the
    correlation `rho`."""
    noise = generator.standard_normal(shape)
    for level in range(1, shape[-1]):
        noise[..., level] *= math.sqrt(1 - rho**2)
        noise[..., level] += rho * noise[..., level - 1]
    return noise


def correlation(samples: list[Array]) -> float:
    """Return the correlation between neighbouring levels of the seeds' deviations from their mean.

    samples: each `[seeds, levels]`. The result is 0 to 0.95, and 0.95 if the seeds do not differ.
    """
    # In units of each level's noise, because otherwise the noisiest level would dominate.
    units = [np.sqrt(pooled_variance(one)) for one in samples]
    residuals = np.concatenate([ratio(one - one.mean(axis=0), unit)
                                for one, unit in zip(samples, units, strict=True)])
    left, right = residuals[:, :-1], residuals[:, 1:]
    size = math.sqrt(float((left**2).sum() * (right**2).sum()))
    found = float((left * right).sum()) / size if size > 0 else CORRELATIONS[-1]
    return min(max(found, 0.0), CORRELATIONS[-1])


def highest_likely_correlation(samples: list[Array]) -> float:
    """Return the `correlation` of the samples plus one and a half of its standard errors.

    With few seeds the estimate is uncertain, and too low a value would make chance differences
    count as more than chance.
    """
    found = correlation(samples)
    freedom = sum(len(one) - 1 for one in samples) * (samples[0].shape[-1] - 1)
    error = (1 - found**2) / math.sqrt(max(freedom, 1))
    return min(found + 1.5 * error, CORRELATIONS[-1])


def pooled_variance(values: Array) -> Array:
    """Return the variance over seeds of every level, `[..., levels]`.

    It is pooled over seven neighbouring levels, because few seeds give an uncertain estimate for
    one level. If a level's own variance is larger, that is used: seeds differ most where a curve
    begins to collapse, which its neighbours do not show.

    values: `[..., seeds, levels]`; NaN where a seed has no value.
    """
    count = (~np.isnan(values)).sum(axis=-2)
    centred = values - _mean(values, axis=-2)
    own = np.nansum(centred**2, axis=-2) / np.maximum(count - 1, 1)
    known = count > 1
    around = _windowed(np.where(known, own, 0.0)) / np.maximum(_windowed(known.astype(float)), 1)
    return np.where(known, np.maximum(own, around), around)


def roughness(curve: Array) -> Array:
    """Return the standard deviation of independent noise that explains a curve's roughness.

    It is estimated from second differences, on which a trend, a bend or a collapse has little
    effect. Noise that is correlated along the curve is larger; the limits take this into account.

    curve: `[..., levels]`, three levels or more.
    """
    bends = np.sort(np.abs(np.diff(curve, 2, axis=-1)), axis=-1)
    # 68.3 % of normal values are within one standard deviation.
    typical = bends[..., math.ceil(0.683 * bends.shape[-1]) - 1]
    return typical / math.sqrt(6)


def level_errors(values: Array) -> Array:
    """Return the scale of the noise of each level of the mean curve, `[..., levels]`.

    With three or more seeds it is the standard error of the mean, without each seed's mean offset
    over all levels; with fewer it is the `roughness` of the mean curve.

    values: `[..., seeds, levels]`; NaN where a seed has no value.
    """
    seeds = values.shape[-2]
    if seeds < SEVERAL:
        mean = _mean(values, axis=-2)[..., 0, :]
        return np.broadcast_to(roughness(mean)[..., None], mean.shape)
    deviations = values - _mean(values, axis=-2)
    deviations = deviations - _mean(deviations, axis=-1)
    count = (~np.isnan(values)).sum(axis=-2)
    return np.sqrt(pooled_variance(deviations) / np.maximum(count, 1))


@dataclass(frozen=True)
class Limits:
    """95 % limits for changes of a flat curve that are due to chance, in units of the levels'
    errors.

    depth: depth of the deepest valley, the smaller of its fall and its rise. rise: rise from the
    first level to the highest. drop: fall from a level to the lowest after it.
    """

    depth: float
    rise: float
    drop: float


def shows_noise(seeds: int, levels: int) -> bool:
    """Return whether `level_errors` can be measured with this number of seeds and levels."""
    return seeds >= SEVERAL or levels >= LONG


@lru_cache(maxsize=256)
def limits(seeds: int, levels: int) -> Limits:
    """Return the limits for the mean curve of this number of seeds, under the least favourable
    correlation. More than ten seeds count as ten, two as one. If the noise cannot be measured on
    the curves, the unit is its standard deviation."""
    seeds = 1 if seeds < SEVERAL else min(seeds, 10)
    measured = shows_noise(seeds, levels)
    draws = _draws(seeds * levels)
    found = []
    for number, rho in enumerate(LEAST_FAVOURABLE):
        generator = np.random.default_rng([seeds, levels, number])
        noise = autoregressive(generator, (draws, seeds, levels), rho)
        height = smoothed(noise.mean(axis=1))
        errors = level_errors(noise) if measured else np.ones(height.shape)
        fall, rise = falls_and_rises(height, errors)
        above_first = -below(height, errors, np.zeros(height.shape, dtype=int))
        statistics = (np.minimum(fall, rise), above_first, fall)
        found.append([np.quantile(one.max(axis=-1), 1 - ALPHA) for one in statistics])
    return Limits(*np.max(found, axis=0).tolist())


@lru_cache(maxsize=256)
def _largest_t(seeds: tuple[int, ...], levels: int) -> tuple[float, ...]:
    """Return the 95 % quantile of the largest |t| over the levels, for each correlation."""
    draws = _draws(sum(seeds) * levels)
    found = []
    for number, rho in enumerate(CORRELATIONS):
        generator = np.random.default_rng([*seeds, levels, number])
        samples = [autoregressive(generator, (draws, some, levels), rho) for some in seeds]
        t = t_statistics(samples)
        found.append(float(np.quantile(np.abs(t).max(axis=-1), 1 - ALPHA)))
    return tuple(np.maximum.accumulate(found).tolist())


def t_statistics(samples: list[Array]) -> Array:
    """Return the difference of the first sample's mean from zero, or from the second sample's mean,
    in standard errors, `[..., levels]`.

    The variance is the largest pooled variance of a level and its two neighbours, because with
    strong noise at a few levels three seeds may agree at one of them by accident.

    samples: each `[..., seeds, levels]`.
    """
    means = [one.mean(axis=-2) for one in samples]
    variance = sum(_largest_nearby(pooled_variance(one)) / one.shape[-2] for one in samples)
    return ratio(means[0] - means[1] if len(means) > 1 else means[0], np.sqrt(variance))


def largest_t(samples: list[Array]) -> float:
    """Return the |t| that chance exceeds at any level in 5 of 100 cases, under the
    `highest_likely_correlation` of the samples."""
    limit = _largest_t(tuple(min(len(one), 20) for one in samples), samples[0].shape[-1])
    return float(np.interp(highest_likely_correlation(samples), CORRELATIONS, limit))


def _draws(numbers: int) -> int:
    """Return the number of simulations, which is smaller the more `numbers` each has."""
    return int(min(max(2e6 / numbers, 500), DRAWS))


def _windowed(values: Array) -> Array:
    """Return sums over each level and its neighbours along the last axis."""
    levels = np.arange(values.shape[-1])
    sums = np.concatenate([np.zeros((*values.shape[:-1], 1)), np.cumsum(values, axis=-1)], axis=-1)
    first = np.maximum(levels - NEIGHBOURS, 0)
    last = np.minimum(levels + NEIGHBOURS + 1, len(levels))
    return np.maximum(sums[..., last] - sums[..., first], 0)


def _largest_nearby(values: Array) -> Array:
    """Return the largest value of each level and its two neighbours along the last axis."""
    padded = np.pad(values, [(0, 0)] * (values.ndim - 1) + [(1, 1)], mode="edge")
    return np.max([padded[..., :-2], values, padded[..., 2:]], axis=0)


def _mean(values: Array, axis: int) -> Array:
    """Return means without NaN, keeping the axis; 0 where all values are NaN."""
    count = (~np.isnan(values)).sum(axis=axis, keepdims=True)
    return np.nansum(values, axis=axis, keepdims=True) / np.maximum(count, 1)

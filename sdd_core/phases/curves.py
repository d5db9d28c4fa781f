"""Curves over levels: smoothing, falls and rises, valley and peak.

All functions accept many curves at once, `[..., levels]`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Array = np.ndarray

ROUNDS = 100
"""Rounds of the alternating fit of levels and seeds, far more than it takes to converge."""


def smoothed(values: Array | Sequence[float]) -> Array:
    """Return running medians of three along the last axis; both ends are unchanged. A single
    outlier then has no effect, and a valley of two levels keeps its depth."""
    values = np.asarray(values, dtype=float)
    if values.shape[-1] < 3:
        return values
    middle = np.median([values[..., :-2], values[..., 1:-1], values[..., 2:]], axis=0)
    return np.concatenate([values[..., :1], middle, values[..., -1:]], axis=-1)


def falls_and_rises(
    height: Array, errors: Array, counted: Array | None = None
) -> tuple[Array, Array]:
    """Return how far each level is below the highest before it, and below the highest after it, in
    errors, `[..., levels]`.

    counted: bool, the levels to which a curve may rise; None: all.
    """
    before = highest_so_far(height)
    goals = height if counted is None else np.where(counted, height, -np.inf)
    after = height.shape[-1] - 1 - highest_so_far(goals[..., ::-1])[..., ::-1]
    return below(height, errors, before), below(height, errors, after)


def turning_points(
    raw: Array, errors: Array, counted: Array | None = None
) -> tuple[Array, Array, Array]:
    """Return the level of the valley, the level of the peak after it, and the valley's depth in
    errors.

    The depth of a level is the smaller of its fall and its rise on the smoothed curve; the valley
    is where it is largest. Of that level and its two neighbours, the lowest of the raw curve is
    returned as the valley, because a reader sees the raw curve; likewise the highest as the peak.
    """
    height = smoothed(raw)
    fall, rise = falls_and_rises(height, errors, counted)
    depth = np.minimum(fall, rise)
    deepest = depth.argmax(axis=-1)
    after = np.arange(raw.shape[-1]) > deepest[..., None]
    goals = np.where(after if counted is None else after & counted, height, -np.inf)
    highest = np.maximum(goals.argmax(axis=-1), deepest)
    valley = _lowest_nearby(raw, deepest, np.zeros_like(deepest), highest - 1)
    peak = _lowest_nearby(-raw, highest, valley + 1, np.full_like(deepest, raw.shape[-1] - 1))
    return valley, peak, depth.max(axis=-1)


def below(height: Array, errors: Array, other: Array) -> Array:
    """Return how far each level is below the level `other`, in errors, `[..., levels]`."""
    errors = np.broadcast_to(errors, height.shape)
    above = np.take_along_axis(height, other, axis=-1) - height
    scale = np.sqrt((np.take_along_axis(errors, other, axis=-1) ** 2 + errors**2) / 2)
    return ratio(above, scale)


def highest_so_far(height: Array) -> Array:
    """Return the level of the highest value up to each level, `[..., levels]`."""
    top = np.maximum.accumulate(height, axis=-1)
    levels = np.where(height >= top, np.arange(height.shape[-1]), 0)
    return np.maximum.accumulate(levels, axis=-1)


def ratio(apart: Array, error: Array) -> Array:
    """Return `apart / error`; if the error is 0, return 0 for 0 and else infinity."""
    certain = np.where(apart == 0, 0.0, np.copysign(np.inf, apart))
    return np.divide(apart, error, out=certain, where=error > 0)


def _lowest_nearby(raw: Array, level: Array, first: Array, last: Array) -> Array:
    """Return the lowest of a level and its two neighbours that are between `first` and `last`; the
    level itself if none is."""
    around = np.stack([level, level - 1, level + 1], axis=-1)
    allowed = (around >= first[..., None]) & (around <= last[..., None])
    near = np.clip(around, 0, raw.shape[-1] - 1)
    values = np.where(allowed, np.take_along_axis(raw, near, -1), np.inf)
    return np.take_along_axis(near, values.argmin(axis=-1)[..., None], -1)[..., 0]


def mean_over_seeds(values: Array) -> Array:
    """Return the mean over the seeds of every level, `[levels]`, as if every seed had a value.

    If a seed that is better than the others has no value at some levels, a plain mean is lower
    there, which looks like a valley. Therefore levels and seeds are fitted together: a value is its
    level's mean plus its seed's difference from the mean seed (least squares).

    values: `[seeds, levels]`; NaN where a seed has no value; at least one number for each level and
        each seed.
    """
    if not np.isnan(values).any():
        return values.mean(axis=0)
    seeds = np.zeros((len(values), 1))
    for _ in range(ROUNDS):
        levels = np.nanmean(values - seeds, axis=0)
        seeds = np.nanmean(values - levels, axis=1, keepdims=True)
        seeds -= seeds.mean()
    return np.nanmean(values - seeds, axis=0)

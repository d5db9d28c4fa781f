"""Curves over levels: smoothed, their falls and rises, their valley and peak.

All functions take many curves at once, `[..., levels]`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Array = np.ndarray


def smoothed(values: Array | Sequence[float]) -> Array:
    """Return running medians of three along the last axis; both ends stay as they are. One odd
    level then decides nothing, and a valley of two levels keeps its depth."""
    values = np.asarray(values, dtype=float)
    if values.shape[-1] < 3:
        return values
    middle = np.median([values[..., :-2], values[..., 1:-1], values[..., 2:]], axis=0)
    return np.concatenate([values[..., :1], middle, values[..., -1:]], axis=-1)


def falls_and_rises(
    height: Array, errors: Array, counted: Array | None = None
) -> tuple[Array, Array]:
    """Return by how many errors each level lies below the highest before it, and below the
    highest after it, `[..., levels]`.

    counted: bool, the levels to which a curve may rise; None: all.
    """
    before = highest_so_far(height)
    goals = height if counted is None else np.where(counted, height, -np.inf)
    after = height.shape[-1] - 1 - highest_so_far(goals[..., ::-1])[..., ::-1]
    return below(height, errors, before), below(height, errors, after)


def turning_points(
    raw: Array, errors: Array, counted: Array | None = None
) -> tuple[Array, Array, Array]:
    """Return the level of the valley, that of the peak after it, and the valley's depth in errors:
    the smaller of its fall and its rise on the smoothed curve, which is larger nowhere else.

    Of neighbours that share a smoothed value, the lowest is the valley, the highest the peak.
    """
    height = smoothed(raw)
    fall, rise = falls_and_rises(height, errors, counted)
    depth = np.minimum(fall, rise)
    deepest = depth.argmax(axis=-1)
    valley = _lowest_nearby(raw, height, deepest)
    levels = np.arange(raw.shape[-1])
    goals = np.where(levels >= deepest[..., None], height, -np.inf)
    if counted is not None:
        goals = np.where(counted, goals, -np.inf)
    peak = _lowest_nearby(-raw, -height, goals.argmax(axis=-1))
    return valley, np.maximum(peak, valley), depth.max(axis=-1)


def below(height: Array, errors: Array, other: Array) -> Array:
    """Return by how many errors each level lies below the level `other`, `[..., levels]`."""
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
    """`apart / error`; without an error, 0 where nothing is apart and else infinite."""
    certain = np.where(apart == 0, 0.0, np.copysign(np.inf, apart))
    return np.divide(apart, error, out=certain, where=error > 0)


def _lowest_nearby(raw: Array, height: Array, level: Array) -> Array:
    """The lowest of a level and its two neighbours, of those that share its smoothed value."""
    at = np.stack([level, level - 1, level + 1], axis=-1)
    near = np.clip(at, 0, raw.shape[-1] - 1)
    shared = np.take_along_axis(height, near, -1) == np.take_along_axis(height, level[..., None], -1)
    values = np.where(shared, np.take_along_axis(raw, near, -1), np.inf)
    return np.take_along_axis(near, values.argmin(axis=-1)[..., None], -1)[..., 0]

"""The label noise of an experiment, in words."""

from __future__ import annotations

from sdd_core.plugin.kinds import LabelNoise, label


def noise_name(noise: LabelNoise) -> str:
    """Return the name of the noise and its rate, `symmetric 0.4`, or `none`."""
    name = label(noise)
    return name if name == "none" else f"{name} {noise.rate:g}"


def applied_noise(noise: LabelNoise, changed: int | None, examples: int | None) -> str:
    """Return `noise_name` with the number of changed training labels, if it is known:
    `symmetric 0.4, 361 of 1,000 training labels changed`."""
    if changed is None or examples is None or not (changed or noise.rate):
        return noise_name(noise)
    return f"{noise_name(noise)}, {changed:,} of {examples:,} training labels changed"

"""How often what `sdd` says of curves is wrong, and how often it finds what is there.

    python benchmarks/verdicts.py [--curves 1000]

Curves of 31 levels are made whose truth is known, with noise that correlates from level to level
as measured runs do, and given to the public functions.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np

from sdd_core import Experiment, Findings, Result, compare, find_phases
from sdd_core.analysis.groups import Group
from sdd_core.level.result import LevelResult

LEVELS = np.arange(31)
SPARSITY = [1 - 0.8**level for level in range(31)]
NOISE = 0.012  # the standard deviation between seeds on the digits
TEST_EXAMPLES = 10_000
CORRELATIONS = (0.0, 0.5, 0.7, 0.9)
SEEDS = (3, 5, 10)

EXPERIMENTS = {
    (rate, seed): Experiment.make({"seed": seed, "noise": {"rate": rate}, "levels": 30})
    for rate in (0.2, 0.4) for seed in range(max(SEEDS))
}

SHAPES = {
    "flat": np.full(31, 0.7),
    "rising": np.linspace(0.6, 0.8, 31),
    "falling": np.linspace(0.8, 0.6, 31),
    "flat, then collapsing": np.interp(LEVELS, [0, 20, 30], [0.7, 0.7, 0.2]),
}
ROUND = (0.75 - 0.06 * np.exp(-(((LEVELS - 11) / 4) ** 2))
         + 0.13 * np.exp(-(((LEVELS - 25) / 5) ** 2)))
SHARP = np.interp(LEVELS, [0, 3, 11, 25, 30], [0.75, 0.75, 0.686, 0.88, 0.83])
SKEWED = np.interp(LEVELS, [0, 3, 14, 17, 27, 30], [0.75, 0.75, 0.69, 0.80, 0.86, 0.75])
TRAINING = np.interp(LEVELS, [0, 10, 16, 24, 30], [1.0, 1.0, 0.984, 0.9, 0.6])


def noise(rng: np.random.Generator, seeds: int, rho: float) -> np.ndarray:
    """Noise of `[seeds, 31]` whose neighbours correlate by `rho`."""
    made = rng.standard_normal((seeds, 31))
    for level in range(1, 31):
        made[:, level] = rho * made[:, level - 1] + np.sqrt(1 - rho**2) * made[:, level]
    return NOISE * made


def runs(curves: np.ndarray, rate: float, metric: str = "test_accuracy") -> Group:
    """A group of runs with these values of a metric, `[seeds, 31]`."""
    results = []
    for seed, curve in enumerate(curves):
        levels = tuple(
            LevelResult(level, "", SPARSITY[level], 1 - SPARSITY[level], False,
                        {metric: value})
            for level, value in enumerate(curve.tolist())
        )
        results.append(Result("", Path(), EXPERIMENTS[rate, seed], levels, TEST_EXAMPLES, 10))
    return Group(f"noise {rate}", tuple(results))


def share(happens: Callable[[], bool], curves: int) -> float:
    """How often something happens."""
    return sum(happens() for _ in range(curves)) / curves


def compared(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether a comparison gives any verdict."""
    return any(compare(runs(one, 0.2), runs(other, 0.4)).signs)


def comparisons(rng: np.random.Generator, curves: int) -> None:
    """False verdicts on equal groups, and power."""
    apart = np.where((LEVELS >= 10) & (LEVELS < 18), 2 * np.sqrt(2) * NOISE, 0.0)
    # Twice the usual noise in the middle, half of it at the ends.
    unequal = np.interp(LEVELS, [0, 15, 30], [0.5, 2.0, 0.5])
    burst = np.where((LEVELS == 20) | (LEVELS == 21), 10.0, 1.0)
    print("\n## Comparisons\n\n| seeds | correlation | false | false, unequal noise "
          "| false, burst of noise | found |")
    print("|---|---|---|---|---|---|")
    for seeds in SEEDS:
        for rho in CORRELATIONS:
            def pair(scale: np.ndarray | float, by: np.ndarray | float, seeds: int = seeds,
                     rho: float = rho) -> bool:
                one, other = (noise(rng, seeds, rho) * scale for _ in range(2))
                return compared(SHARP + by + one, SHARP + other)

            rates = [share(lambda: pair(1.0, 0.0), curves),
                     share(lambda: pair(unequal, 0.0), curves),
                     share(lambda: pair(burst, 0.0), curves),
                     share(lambda: pair(1.0, apart), curves)]
            print(f"| {seeds} | {rho} | " + " | ".join(f"{rate:.3f}" for rate in rates) + " |")


def descents(rng: np.random.Generator, curves: int) -> None:
    """False double descents, and dips that are found."""
    print("\n## Double descent\n\n| seeds | correlation | " + " | ".join(SHAPES)
          + " | dip of 4 | dip of 6 | digits |\n|" + "---|" * (len(SHAPES) + 5))
    for seeds in (1, *SEEDS):
        dips = [0.7 - np.interp(LEVELS, [6, 11, 16], [0, depth * NOISE / np.sqrt(seeds), 0])
                for depth in (4, 6)]
        for rho in CORRELATIONS:
            rates = [
                share(lambda: find_phases(SPARSITY, true + noise(rng, seeds, rho),  # noqa: B023
                                          TEST_EXAMPLES, 10).double_descent, curves)
                for true in (*SHAPES.values(), *dips, SHARP)
            ]
            print(f"| {seeds} | {rho} | " + " | ".join(f"{rate:.3f}" for rate in rates) + " |")


def coverage(rng: np.random.Generator, curves: int) -> None:
    """How often the intervals hold the truth."""
    print("\n## Intervals\n\n| curve | seeds | correlation | valley | its sparsity | peak "
          "| its sparsity |\n|---|---|---|---|---|---|---|")
    for name, true in (("round", ROUND), ("sharp", SHARP), ("skewed", SKEWED)):
        valley = int(np.argmin(true[:20]))
        peak = int(np.argmax(true))
        truth = ((SPARSITY[valley], true[valley]), (SPARSITY[peak], true[peak]))
        for seeds in SEEDS:
            for rho in CORRELATIONS:
                held, said = np.zeros((2, 2)), 0
                for _ in range(curves):
                    one = Findings(runs(true + noise(rng, seeds, rho), 0.4))
                    if one.valley is None or one.peak is None:
                        continue
                    said += 1
                    for turn, (intervals, values) in enumerate(
                        zip((one.valley, one.peak), truth, strict=True)
                    ):
                        held[turn] += [each.low <= value <= each.high
                                       for each, value in zip(intervals, values, strict=True)]
                rates = held / said
                print(f"| {name} | {seeds} | {rho} | {rates[0, 1]:.3f} | {rates[0, 0]:.3f} "
                      f"| {rates[1, 1]:.3f} | {rates[1, 0]:.3f} |")


def thresholds(rng: np.random.Generator, curves: int) -> None:
    """How often the intervals of the interpolation threshold hold the true one."""
    print("\n## Interpolation threshold\n\n| seeds | correlation | held |\n|---|---|---|")
    true = SPARSITY[int(np.flatnonzero(TRAINING < 0.99)[0])]
    for seeds in SEEDS:
        for rho in CORRELATIONS:
            held = 0
            for _ in range(curves):
                curve = TRAINING + noise(rng, seeds, rho) / 5
                found = Findings(runs(curve, 0.4, "train_accuracy")).interpolation_threshold
                held += found is not None and found.low <= true <= found.high
            print(f"| {seeds} | {rho} | {held / curves:.3f} |")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--curves", type=int, default=1000, help="for each number")
    curves = parser.parse_args().curves
    print(f"# How often verdicts err: {curves} curves for each number")
    for number, table in enumerate((comparisons, descents, coverage, thresholds)):
        table(np.random.default_rng(number), curves)


if __name__ == "__main__":
    main()

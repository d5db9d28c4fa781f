"""Results made by hand, for the tests of what is done with results."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sdd_core.experiment.experiment import Experiment
from sdd_core.level.result import LevelResult
from sdd_core.runs.result import Result

LAYERS = ("hidden.weight", "output.weight")


def made(
    test: Sequence[float],
    *,
    run: str = "by-hand",
    settings: Mapping[str, Any] | None = None,
    sparsity: Sequence[float] | None = None,
    test_examples: int = 10_000,
    epochs: int = 2,
    **metrics: Sequence[float],
) -> Result:
    """A result with these test accuracies and other metrics, level by level.

    NaN: the level diverged. sparsity: what pruning a fifth at a time gives, if not given.
    """
    sparsity = sparsity or [1 - 0.8**level for level in range(len(test))]
    levels = []
    for level, accuracy in enumerate(test):
        diverged = math.isnan(accuracy)
        values: dict[str, Any] = {"test_accuracy": None if diverged else accuracy}
        for name, curve in metrics.items():
            values[name] = None if math.isnan(curve[level]) else curve[level]
        values["sparsity_by_layer"] = dict.fromkeys(LAYERS, sparsity[level])
        trained = () if diverged else tuple(
            {"number": number, "step": 8 * number, "learning_rate": 0.1, "test_loss": 1 / number,
             "test_accuracy": accuracy, "train_loss": None, "train_accuracy": None}
            for number in range(1, epochs + 1)
        )
        levels.append(LevelResult(level, f"key{level}", sparsity[level], 1 - sparsity[level],
                                  diverged, values, trained))
    experiment = Experiment.make({"levels": max(len(test) - 1, 0), **(settings or {})})
    return Result(run, Path(run), experiment, tuple(levels), test_examples)


def descent(**changes: Any) -> Result:
    """A result with all four phases: light 0 to 2, critical to 4, sweet to 6, collapsed to 8."""
    curves: dict[str, Any] = {
        "test": [0.7, 0.71, 0.7, 0.6, 0.59, 0.8, 0.81, 0.4, 0.3],
        "train_accuracy": [1.0, 1.0, 1.0, 1.0, 0.99, 0.7, 0.6, 0.5, 0.4],
        "learning_distance": [16.0, 17.0, 18.0, 19.0, 20.0, 18.5, 16.5, 14.5, 12.5],
    }
    return made(**{**curves, **changes})

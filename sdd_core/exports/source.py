"""What an exporter gets: the network of a level, with its description."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from torch import Tensor

from sdd_core.exports.compare import random_batches
from sdd_core.exports.data import TestSet
from sdd_core.installation import DISTRIBUTION
from sdd_core.level.result import LevelResult
from sdd_core.plugin.kinds import label
from sdd_core.plugin.kinds.exporter import Exportable
from sdd_core.runs.record import Record
from sdd_core.runs.result import Result


def exportable(
    result: Result, level: LevelResult, record: Record, test: TestSet | str
) -> Exportable:
    """Return what an exporter gets of a level. Raises SddError if the network cannot be made."""
    network = level.network()
    masks = true_masks(level.masks, network.state_dict())
    example = _example(record, test)
    return Exportable(network, masks, example, _description(result, level, record), result)


def true_masks(
    masks: Mapping[str, Tensor], state: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Return the masks of what a network keeps: also the pruned weights that are not zero, because
    the schedule holds them at other values or an ablation trained them again."""
    return {name: mask | (state[name] != 0) for name, mask in masks.items()}


def _example(record: Record, test: TestSet | str) -> Tensor:
    if isinstance(test, TestSet) and len(test) > 1:
        return test.inputs(slice(2))
    assert record.inputs is not None  # the network has been made
    return next(two for two in random_batches(tuple(record.inputs.shape)) if len(two) == 2)


def _description(result: Result, level: LevelResult, record: Record) -> dict[str, Any]:
    inputs = record.inputs and record.inputs.model_dump()
    return {
        "run": result.run,
        "level": level.level,
        "key": level.key,
        "sparsity": level.sparsity,
        "metrics": dict(level.metrics),
        "model": label(result.experiment.model),
        "classes": record.data.classes,
        "input_shape": inputs and inputs.pop("shape"),
        "normalisation": inputs,
        "noise": result.noise,
        "sdd": version(DISTRIBUTION),
    }

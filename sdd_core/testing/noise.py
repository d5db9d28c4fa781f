"""Checks of label noise."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from sdd_core.data.dataset import Dataset
from sdd_core.randomness import generator
from sdd_core.testing.call import Check, call, call_twice, fault, same, unchanged, with_options
from sdd_core.testing.fixtures import TinyData


def checks(plugin: Any) -> list[Check]:
    """Return the checks of label noise."""
    return Check.all(labels, reproducible, hands_off, rate, about=(plugin,))


def labels(plugin: Any) -> None:
    """It returns one label of an existing class, int64, for each example"""
    data = _data()
    found = call(plugin, "corrupt", *_arguments(data))
    count = len(data.train)
    if not isinstance(found, Tensor) or found.dtype != torch.int64 or found.shape != (count,):
        got = f"{found.dtype} {list(found.shape)}" if isinstance(found, Tensor) else type(
            found
        ).__name__
        raise fault(plugin, f"corrupt() returned {got}; expected torch.int64 [{count}]")
    low, high = int(found.min()), int(found.max())
    if low < 0 or high >= data.num_classes:
        raise fault(plugin, f"corrupt() gives labels from {low} to {high}; with {data.num_classes} "
                            f"classes they lie between 0 and {data.num_classes - 1}")


def reproducible(plugin: Any) -> None:
    """Equal generators give equal labels; they are the only source of randomness"""
    call_twice(plugin, "corrupt", lambda: _arguments(_data()))


def hands_off(plugin: Any) -> None:
    """It does not modify the true labels, the test labels or the images"""
    data = _data()
    given, _, draw = _arguments(data)
    found = call(plugin, "corrupt", given, data, draw)
    clean = _data()
    unchanged(plugin, "corrupt", "the true labels", clean.train.labels, given)
    for split in ("train", "test"):
        for part in ("labels", "true_labels", "images"):
            unchanged(plugin, "corrupt", f"data.{split}.{part}",
                      getattr(getattr(clean, split), part), getattr(getattr(data, split), part))
    if isinstance(found, Tensor) and found.data_ptr() == data.train.true_labels.data_ptr():
        raise fault(plugin, "corrupt() returns the data set's own labels; return a copy")


def rate(plugin: Any) -> None:
    """Rate 0 changes no label, and no rate changes more than its share"""
    data = _data()
    none = with_options(plugin, rate=0.0)
    if not same(call(none, "corrupt", *_arguments(data)), data.train.labels):
        raise fault(plugin, "changes labels at rate 0")
    wrong = int((call(plugin, "corrupt", *_arguments(data)) != data.train.labels).sum())
    count, share = len(data.train), float(plugin.rate)
    # If each example is drawn independently, the number varies; four deviations are allowed.
    most = share * count + data.num_classes + 4 * math.sqrt(share * (1 - share) * count)
    if wrong > most:
        raise fault(plugin, f"makes {wrong} of {count} labels wrong at rate {share:g}")


def _data() -> Dataset:
    return TinyData().load(None)


def _arguments(data: Dataset) -> tuple[Tensor, Dataset, torch.Generator]:
    return data.train.labels.clone(), data, generator(0, "kit", "noise")


"""Checks of data sources."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import torch

from sdd_core.data.dataset import Dataset
from sdd_core.errors import SddError
from sdd_core.testing.call import Check, again, call, fault, global_seed, same


def checks(plugin: Any, root: Path | None = None) -> list[Check]:
    """Return the checks of a data source with its files in `root`. They load the data twice."""

    @cache
    def load(time: int) -> Dataset:
        with global_seed(time):
            found = call(again(plugin), "load", root)
        if not isinstance(found, Dataset):
            raise fault(plugin, f"load() returned {type(found).__name__}; expected a Dataset")
        return found

    return Check.all(trainable, images, classes, deterministic, about=(plugin, load))


def trainable(plugin: Any, load: Any) -> None:
    """It has training and test examples with one label each, of at least two classes"""
    try:
        load(1).check()
    except SddError as error:
        raise fault(plugin, str(error)) from error
    except (TypeError, AttributeError, IndexError) as error:
        raise fault(plugin, f"load() gave a Dataset with parts of the wrong type: {error}") from (
            error
        )


def images(plugin: Any, load: Any) -> None:
    """Images are uint8 [N, C, H, W] or finite float32 [N, ...], on the CPU"""
    for part in ("train", "test"):
        held = getattr(load(1), part).images
        if held.device.type != "cpu":
            raise fault(plugin, f"{part} images are on {held.device}; expected the CPU")
        whole = held.dtype == torch.uint8 and held.dim() == 4
        if not whole and held.dtype != torch.float32:
            raise fault(plugin, f"{part} images are {held.dtype} {list(held.shape)}; expected "
                                "torch.uint8 [N, C, H, W] or torch.float32 [N, ...]")
        if not whole and not held.isfinite().all():
            raise fault(plugin, f"{part} images have NaN or infinity")


def classes(plugin: Any, load: Any) -> None:
    """True labels, confusions and superclasses fit the labels and their classes"""
    data = load(1)
    known = range(data.num_classes)
    for part in ("train", "test"):
        split = getattr(data, part)
        if split.true_labels.shape != split.labels.shape:
            raise fault(plugin, f"{part} has {len(split.true_labels)} true labels for "
                                f"{len(split.labels)} labels")
    strange = [number for pair in data.confusions.items() for number in pair if number not in known]
    if strange:
        raise fault(plugin, f"confusions name class {strange[0]}; there are 0 to {known[-1]}")
    if len(data.superclasses) not in {0, data.num_classes}:
        raise fault(plugin, f"gives {len(data.superclasses)} superclasses for {data.num_classes} "
                            "classes; give one for each class, or none")


def deterministic(plugin: Any, load: Any) -> None:
    """It loads the same data each time, whatever the state of global generators"""
    one, other = load(1), load(2)
    if not same(one, other):
        raise fault(plugin, "loads other data the second time; draw with a fixed seed")
    if one.train.labels.data_ptr() == other.train.labels.data_ptr():
        raise fault(plugin, "returns the same tensors twice; load() must make new ones")

"""What a run holds in memory."""

from __future__ import annotations

import gc

import pytest
import torch
from support import go, small

import sdd_core

pytestmark = pytest.mark.usefixtures("written_at_once")


class Living:
    """Counts the numbers in tensors that are alive when a level is done."""

    def __init__(self) -> None:
        self.numbers: list[int] = []

    @sdd_core.hookimpl
    def sdd_level_end(self) -> None:
        self.numbers.append(alive())


def alive() -> int:
    """How many numbers there are in all tensors."""
    tensors = [thing for thing in gc.get_objects() if issubclass(type(thing), torch.Tensor)]
    return sum(tensor.numel() for tensor in tensors)


@pytest.fixture
def no_garbage_collection():
    """What then stays alive in a cycle is seen at once."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize("engine", ["auto", "none"])
def test_does_not_grow_with_the_number_of_levels(engine, no_garbage_collection, tmp_path):
    living = Living()
    go(small(kernels=engine, levels=7, train={"epochs": 1}), tmp_path, observers=[living])
    weights = 64 * 16 + 16 * 10
    # The first levels fill what is kept for all: the rewind point, the level before.
    assert living.numbers[7] - living.numbers[2] < weights


@pytest.mark.parametrize("ablation", [None, "reinit"])
def test_a_run_leaves_nothing_behind(ablation, no_garbage_collection, tmp_path):
    settings = small(ablation=ablation, train={"epochs": 1})
    go(settings, tmp_path / "warm")  # fills what is kept for all runs: the data set's mean
    before = alive()
    go(settings, tmp_path / "store")
    assert alive() == before

"""A level made by hand, as a pruner or a metric sees it."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

from sdd_core import Dataset, LevelView, Split
from sdd_core.level.level import Level
from sdd_core.level.masks import full_masks, prunable_weights


def dataset(
    images: Tensor, labels: list[int], true_labels: list[int] | None = None, classes: int = 2
) -> Dataset:
    """The same examples for training (with wrong labels) and for testing."""
    given = torch.tensor(labels)
    true = given if true_labels is None else torch.tensor(true_labels)
    return Dataset("by hand", Split(images, given, true), Split(images, true), classes)


@pytest.fixture
def make_view() -> Callable[..., LevelView]:
    """Makes the view of a level from a network as it is at the end of the level's training."""

    def make(
        network: nn.Module,
        data: Dataset | None = None,
        *,
        initial: dict[str, Tensor] | None = None,
        masks: dict[str, Tensor] | None = None,
        level: int = 1,
        epochs: tuple = (),
        diverged: bool = False,
        exempt: tuple[str, ...] = (),
        seed: int = 0,
        before: dict[str, Tensor] | None = None,
        dense: dict[str, Tensor] | None = None,
        unchanged: dict[str, Tensor] | None = None,
        lifted: bool = False,
        target_density: float | None = None,
        observed: dict[str, Tensor] | None = None,
    ) -> LevelView:
        state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        masks = full_masks(prunable_weights(network)) | (masks or {})
        return LevelView(
            Level(level, masks, state, epochs, diverged, observed=observed or {}),
            initial=state if initial is None else initial,
            build=lambda: deepcopy(network),
            trainable=[n for n, p in network.named_parameters() if p.requires_grad],
            data=data or dataset(torch.zeros(2, 2), [0, 1]),
            exempt=frozenset(exempt),
            seed=seed,
            device=torch.device("cpu"),
            before=before,
            dense=dense,
            unchanged=unchanged,
            lifted=lifted,
            target_density=target_density,
        )

    return make

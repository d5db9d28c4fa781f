"""What a level's training is resumed from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from sdd_core.level.level import Epoch


@dataclass(frozen=True)
class Checkpoint:
    """A level in the middle of its training; from here it ends as if it had never stopped.

    taken: steps that have been trained. random_state: of torch's global generators.
    kernels: how each layer is trained, as in `Level`; it goes on with the same.
    """

    taken: int
    epochs: tuple[Epoch, ...]
    state: Mapping[str, Tensor]
    momenta: Mapping[str, Tensor]
    random_state: Mapping[str, Tensor]
    kernels: tuple[str, ...] = ()


def random_state() -> dict[str, Tensor]:
    """The states of torch's global generators, which layers such as dropout draw from."""
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states |= {f"cuda:{n}": state for n, state in enumerate(torch.cuda.get_rng_state_all())}
    return states


def restore_random_state(states: Mapping[str, Tensor]) -> None:
    """Set torch's global generators to what `random_state` returned."""
    torch.set_rng_state(states["cpu"])
    if torch.cuda.is_available():
        # There may have been more of them where the checkpoint was written.
        for number in range(torch.cuda.device_count()):
            if (name := f"cuda:{number}") in states:
                torch.cuda.set_rng_state(states[name], name)

"""Checkpoints of a level's training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from sdd_core.level.result import Epoch


@dataclass(frozen=True)
class Moved:
    """The masks of a level whose masks move during its training.

    masks: the present ones. memory: the state of the sparse training. count: number of weights that
    were regrown so far.
    """

    masks: Mapping[str, Tensor]
    memory: Mapping[str, Tensor]
    count: int


@dataclass(frozen=True)
class Checkpoint:
    """A level during its training. Resuming gives the same result as training without a stop.

    taken: number of trained steps. random_state: that of torch's global generators.
    kernels: the kernel of each layer, as in `Level`, which must be used again. moved: the masks, if
    they move. observed: the state of a pruner that observes training.
    """

    taken: int
    epochs: tuple[Epoch, ...]
    state: Mapping[str, Tensor]
    momenta: Mapping[str, Tensor]
    random_state: Mapping[str, Tensor]
    kernels: tuple[str, ...] = ()
    moved: Moved | None = None
    observed: Mapping[str, Tensor] = field(default_factory=dict)


def random_state() -> dict[str, Tensor]:
    """Return the states of torch's global generators, which layers such as dropout use."""
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states |= {f"cuda:{n}": state for n, state in enumerate(torch.cuda.get_rng_state_all())}
    return states


def restore_random_state(states: Mapping[str, Tensor]) -> None:
    """Set torch's global generators to what `random_state` returned."""
    torch.set_rng_state(states["cpu"])
    if torch.cuda.is_available():
        # The machine that wrote the checkpoint may have had more GPUs.
        for number in range(torch.cuda.device_count()):
            if (name := f"cuda:{number}") in states:
                torch.cuda.set_rng_state(states[name], name)

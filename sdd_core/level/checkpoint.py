"""Checkpoints of a level's training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from sdd_core.data.plain import dense_tensor
from sdd_core.level.result import Epoch

KEPT = {
    torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64,
    torch.float16, torch.bfloat16, torch.float32, torch.float64,
}  # fmt: skip
"""The types of numbers of a plugin's state that every file of a checkpoint can have."""


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


def plain_state(state: Mapping[Any, Any], device: torch.device) -> dict[str, Tensor]:
    """Return a plugin's state as a checkpoint would give it back: dense, contiguous tensors on the
    device, none of which shares memory. Raises TypeError for anything that it cannot give back."""
    plain: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, value in state.items():
        if fault := state_fault(name, value):
            raise TypeError(fault)
        tensor = value.detach().to(device).contiguous()
        place = tensor.untyped_storage().data_ptr()
        plain[name] = tensor.clone() if place in seen else tensor
        seen.add(place)
    return plain


def state_fault(name: Any, value: Any) -> str:
    """Return which value of a plugin's state cannot be kept in a checkpoint; '' if it can."""
    if not isinstance(name, str) or not isinstance(value, Tensor):
        return f"{name!r} of type {type(value).__name__}"
    if value.dtype not in KEPT:
        return f"{name!r} of {value.dtype}"
    try:
        dense_tensor(value)
    except TypeError as error:
        return f"{name!r}, {str(error).removeprefix('it is ').partition(';')[0]},"
    return ""

"""What a pruner observes during the training of a level."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from sdd_core.level.step import StepView
from sdd_core.plugin.isolation import Guard
from sdd_core.plugin.kinds import Pruner


class Observation:
    """Shows the steps of a level's training to a pruner, and keeps its state.

    steps: number of the level's steps. masks: the present ones, which may be set to others. state,
    taken: those of a checkpoint, to continue from.
    """

    def __init__(
        self,
        pruner: Pruner,
        guard: Guard,
        level: int,
        steps: int,
        masks: Mapping[str, Tensor],
        device: torch.device,
        state: Mapping[str, Tensor] | None = None,
        taken: int = 0,
    ) -> None:
        self._pruner, self._guard, self._level, self._device = pruner, guard, level, device
        self._steps, self._taken, self.masks = steps, taken, masks
        self._state = {name: tensor.to(device) for name, tensor in (state or {}).items()}

    def step(
        self, batch: int, learning_rate: float, weights: Mapping[str, Tensor],
        gradients: Mapping[str, Tensor],
    ) -> None:
        """Show a step, before the weights move. Raises SddError for a failure of the pruner."""
        view = StepView(self._taken, self._steps, batch, learning_rate, weights, gradients,
                        self.masks)
        # The stream depends on the step, so that a resumed level draws the same numbers.
        with torch.no_grad(), self._guard.isolated(self._pruner, "observe", self._level,
                                                   self._taken):
            self._pruner.observe(self._state, view)
            self._state = {name: self._plain(name, value) for name, value in self._state.items()}
            _separate(self._state)
        self._taken += 1

    def state(self) -> dict[str, Tensor]:
        """Return a copy of the pruner's state, on the CPU."""
        return {name: tensor.cpu().clone() for name, tensor in self._state.items()}

    def _plain(self, name: Any, value: Any) -> Tensor:
        """Return a value of the state as a checkpoint would give it back. Raises TypeError for
        anything but a dense tensor with a name."""
        if not (isinstance(name, str) and isinstance(value, Tensor)
                and value.layout == torch.strided and not value.is_quantized):
            raise TypeError(f"observe() left {name!r} of type {type(value).__name__} in the state; "
                            "expected tensors by name")
        return value.detach().to(self._device).contiguous()


def _separate(state: dict[str, Tensor]) -> None:
    """Let no two tensors of a state share memory, because they would not after a checkpoint."""
    seen: set[int] = set()
    for name, tensor in state.items():
        if tensor.untyped_storage().data_ptr() in seen:
            state[name] = tensor.clone()
        seen.add(state[name].untyped_storage().data_ptr())

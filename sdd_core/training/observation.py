"""What a pruner observes during the training of a level."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from sdd_core.level.checkpoint import plain_state
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
            self._state = self._plain()
        self._taken += 1

    def state(self) -> dict[str, Tensor]:
        """Return a copy of the pruner's state, on the CPU."""
        return {name: tensor.cpu().clone() for name, tensor in self._state.items()}

    def _plain(self) -> dict[str, Tensor]:
        """Return the state as a checkpoint would give it back. Raises TypeError for anything but
        dense tensors with names."""
        try:
            return plain_state(self._state, self._device)
        except TypeError as error:
            raise TypeError(f"observe() left {error} in the state; expected dense tensors of real "
                            "numbers, by name") from None

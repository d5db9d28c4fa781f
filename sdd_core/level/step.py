"""A step of training, as a value for plugins that observe training."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import torch
from torch import Tensor


class StepView:
    """The view of a training step for pruners that observe training: copies, so that they cannot
    change the run.

    step, steps: the number of the step in the level, from 0, and the number of the level's steps;
        with `train.stop_loss` the level may end earlier. batch: the number of the batch in its
        epoch, from 0. learning_rate: that of the step.
    """

    def __init__(
        self,
        step: int,
        steps: int,
        batch: int,
        learning_rate: float,
        weights: Mapping[str, Tensor],
        gradients: Mapping[str, Tensor],
        masks: Mapping[str, Tensor],
    ) -> None:
        self.step = step
        self.steps = steps
        self.batch = batch
        self.learning_rate = learning_rate
        self._weights, self._gradients, self._masks = weights, gradients, masks

    def __repr__(self) -> str:
        return f"<StepView of step {self.step:,} of {self.steps:,}>"

    @cached_property
    def weights(self) -> dict[str, Tensor]:
        """Every trainable parameter before the step, on the device that trains."""
        return _copies(self._weights)

    @cached_property
    def gradients(self) -> dict[str, Tensor]:
        """The gradient of the loss of this batch with respect to each weight, pruned ones too:
        without penalties, weight decay and masks."""
        return _copies(self._gradients)

    @cached_property
    def masks(self) -> dict[str, Tensor]:
        """bool, True where a weight is kept, on the CPU, for every prunable weight; at level 0 not
        for those that only `pruner.include` makes prunable."""
        return _copies(self._masks)


def _copies(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    # In the default layout, so that a sum over a copy adds in the same order after a checkpoint.
    return {name: tensor.detach().clone(memory_format=torch.contiguous_format)
            for name, tensor in tensors.items()}

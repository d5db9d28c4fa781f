"""Moves the masks of a level while it trains."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping

from torch import Tensor

from sdd_core.level.checkpoint import Checkpoint, Moved
from sdd_core.level.masks import kept_and_size
from sdd_core.plugin.isolation import Guard
from sdd_core.pruning.moving import (
    Course,
    check_memory,
    check_moved,
    check_values,
    view_of,
)
from sdd_core.training.states import finite
from sdd_core.training.trainer import Trainer


class Mover:
    """Moves the masks of a level in training along its course.

    masks: the present ones. count: the number of weights that were regrown so far.
    """

    def __init__(self, course: Course, guard: Guard, resume: Checkpoint | None) -> None:
        self.course = course
        self._guard = guard
        before = resume.moved if resume else None
        self.masks = dict(before.masks if before else course.start)
        self._memory = {n: t.clone() for n, t in before.memory.items()} if before else {}
        self.count = before.count if before else 0

    def next(self, step: int) -> int | None:
        """Return the first step from `step` on at which masks move; None if there is none."""
        updates = self.course.updates
        position = bisect_left(updates, step)
        return updates[position] if position < len(updates) else None

    def move(self, trainer: Trainer, step: int, gradients: Mapping[str, Tensor]) -> None:
        """Move the masks. gradients: of all weights, empty unless the plugin asks for them.

        Weights or gradients that are not finite leave the masks as they are: training has diverged.
        """
        course = self.course
        weights = trainer.weights(self.masks)
        gradients = {name: gradients[name] for name in self.masks if name in gradients}
        if not finite(weights, weights) or not finite(gradients, gradients):
            return
        view = view_of(course, step, weights, self.masks, gradients, trainer.momenta, self._memory)
        with self._guard.isolated(course.plugin, "sparse training", course.level, step):
            masks = check_moved(course, step, course.plugin.masks(view), self.masks)
            grown = {name: masks[name] & ~mask for name, mask in self.masks.items()}
            values = check_values(course, course.plugin.values(view, grown), grown)
            self._memory = check_memory(course, self._memory)
        self.count += kept_and_size(grown, None)[0]
        self.masks = masks
        trainer.remask(masks, values)

    def moved(self) -> Moved:
        """Return what a checkpoint keeps."""
        memory = {name: tensor.clone() for name, tensor in self._memory.items()}
        return Moved(self.masks, memory, self.count)

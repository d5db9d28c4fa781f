"""Sparse training: masks that move while a level trains."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, ClassVar

from sdd_core.plugin.base import Plugin

if TYPE_CHECKING:
    from torch import Tensor

    from sdd_core.level.mask_view import MaskView


class SparseTraining(Plugin):
    """A method that moves the masks of pruned levels while they train.

    A subclass says at which steps the masks move, and returns the new masks. The engine keeps
    pruned weights at zero, starts regrown ones at zero with fresh momentum, checks the counts, and
    saves masks and state in checkpoints. A level starts from the pruner's masks and ends with as
    many weights as the pruner kept.

    gradients: True if `masks` needs the gradients of all weights, pruned ones too. The batch of an
        update is then used for them, and the update replaces the step of the optimizer (as in
        Evci et al., 2020, algorithm 1). Else masks move before the step, which is taken under the
        new masks.
    by_layer: True if each layer keeps its number of weights; False if only the total counts.
    patterns: True if the masks follow `pruner.pattern`, as those from `view.prune` do.
    """

    kind: ClassVar[str] = "sparse-training"
    noun: ClassVar[str] = "sparse training"
    hook: ClassVar[str] = "sdd_sparse_training"
    title: ClassVar[str] = "Sparse training"
    gradients: ClassVar[bool] = False
    by_layer: ClassVar[bool] = True
    patterns: ClassVar[bool] = False

    def updates(self, steps: int, steps_per_epoch: int) -> Iterable[int]:
        """Return the steps at which the masks move, from 0 to `steps` - 1, in any order.

        steps: the number of steps of a level's training.
        """
        raise NotImplementedError

    def progress(self, step: int, steps: int) -> float:
        """Return how much of the level's pruning is done from the update at `step` on, 0 to 1.

        0: as many weights as before the level was pruned; 1, the default: as many as the pruner
        keeps. After the last update it must be 1. If it is less at step 0, the level starts from
        the masks before pruning.
        """
        return 1.0

    def masks(self, view: MaskView) -> Mapping[str, Tensor]:
        """Return the new masks, bool, in the shapes of the weights, for every name in
        `view.masks`; exempt layers unchanged."""
        raise NotImplementedError

    def values(self, view: MaskView, grown: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return the values at which regrown weights start, in the shapes of the weights and zero
        elsewhere; layers without values start at zero, the default.

        grown: bool, True where a weight was pruned before the update and is now kept.
        """
        return {}

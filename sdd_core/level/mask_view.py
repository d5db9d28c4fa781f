"""What sparse training sees of a level that trains."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from sdd_core.level.lowest import LARGEST, SMALLEST, VALUE, Order, lowest
from sdd_core.level.masks import Masks
from sdd_core.randomness import generator


class Absent(dict[str, Tensor]):
    """No tensors. A KeyError says why."""

    def __init__(self, reason: str) -> None:
        super().__init__()
        self._reason = reason

    def __missing__(self, name: str) -> Tensor:
        raise KeyError(self._reason)


class MaskView:
    """The view of a level in training for sparse training: copies, on the CPU.

    level: the level's index. step: the step of its training, counted from 0. steps: their number.
    weights, masks: by name, for every prunable weight, exempt ones too; masks are bool, True where
        a weight is kept. before: the masks of the level that was pruned.
    gradients: of the loss on the step's batch, for pruned weights too; empty unless the plugin asks
        for them.
    state: tensors by name, which the plugin changes in place. It begins empty at each level, and
        checkpoints save it.
    """

    def __init__(
        self,
        *,
        level: int,
        step: int,
        steps: int,
        steps_per_epoch: int,
        weights: Mapping[str, Tensor],
        masks: Masks,
        before: Masks,
        gradients: Mapping[str, Tensor],
        momenta: Callable[[], Mapping[str, Tensor]],
        exempt: Collection[str],
        seed: int,
        state: dict[str, Tensor],
        prune: Callable[[Masks], dict[str, Tensor]],
    ) -> None:
        self.level, self.step, self.steps = level, step, steps
        self.steps_per_epoch = steps_per_epoch
        self.weights = dict(weights)
        self.gradients = gradients if isinstance(gradients, Absent) else dict(gradients)
        self.state = state
        self._masks, self._before, self._momenta = masks, before, momenta
        self._exempt, self._seed, self._prune = exempt, seed, prune

    def __repr__(self) -> str:
        return f"<MaskView of level {self.level} at step {self.step:,} of {self.steps:,}>"

    @cached_property
    def masks(self) -> dict[str, Tensor]:
        """The masks until now."""
        return {name: mask.clone() for name, mask in self._masks.items()}

    @cached_property
    def before(self) -> dict[str, Tensor]:
        """The masks of the level that was pruned."""
        return {name: mask.clone() for name, mask in self._before.items()}

    @cached_property
    def momenta(self) -> dict[str, Tensor]:
        """The momentum of each weight, by name; empty for other optimizers than SGD."""
        found = self._momenta()
        if not found:
            return Absent("view.momenta is empty; the optimizer keeps no momenta as sgd does")
        return {name: found[name].clone() for name in self._masks if name in found}

    @property
    def prunable(self) -> list[str]:
        """Names of the weights that may be pruned, in the network's order."""
        return [name for name in self._masks if name not in self._exempt]

    def generator(self, purpose: str) -> torch.Generator:
        """Return a random generator for one purpose, always with the same seed for this step of
        this level."""
        return generator(self._seed, "plugin", purpose, self.level, self.step)

    def prune(self, scores: Masks) -> dict[str, Tensor]:
        """Return the masks pruned to the number of weights of this step, lowest scores first, under
        the pruner's scope and pattern. Layers that have fewer weights keep all of them.

        scores: for every layer in `prunable`, in the shape of its weight.
        """
        return self._prune(scores)

    def lowest(self, scores: Tensor, among: Tensor, count: int) -> Tensor:
        """Return a mask, bool, of the `count` lowest scores where `among` is True; the first ones
        of equal scores. Raises ValueError if there are fewer.

        scores, among: in one shape; NaN counts as the highest score.
        """
        return self._select("lowest", scores, among, count, VALUE)

    def smallest(self, values: Tensor, among: Tensor, count: int) -> Tensor:
        """Return a mask of the `count` values of smallest magnitude; otherwise like `lowest`."""
        return self._select("smallest", values, among, count, SMALLEST)

    def largest(self, values: Tensor, among: Tensor, count: int) -> Tensor:
        """Return a mask of the `count` values of largest magnitude, where NaN counts as the
        smallest; otherwise like `lowest`."""
        return self._select("largest", values, among, count, LARGEST)

    @staticmethod
    def _select(caller: str, values: Tensor, among: Tensor, count: int, order: Order) -> Tensor:
        if order is not VALUE and not values.is_floating_point():
            values = values.double()  # the magnitude of an integer may have no place in its type
        # numpy is several times as fast here as torch.
        there = among.numpy().ravel()
        found = lowest(values.detach().numpy().ravel(), max(0, count), there, order)
        if len(found) != count:
            raise ValueError(f"{caller}() was asked for {count} of {there.sum()} weights")
        chosen = np.zeros(there.size, bool)
        chosen[found] = True
        return torch.from_numpy(chosen).view(among.shape)

"""Sparse training with one fault each, as authors may well write it."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from pydantic import PrivateAttr

from sdd_core import SparseTraining


class Good(SparseTraining):
    """Drops the smallest weights of each layer, and grows as many by the average gradient."""

    name = "good"
    gradients: ClassVar[bool] = True

    def updates(self, steps, steps_per_epoch):
        return range(50, steps - 50, 50)

    def average(self, view, name):
        before = view.state.get(name, torch.zeros_like(view.gradients[name]))
        view.state[name] = before + view.gradients[name].abs()
        return view.state[name]

    def masks(self, view):
        masks = dict(view.masks)
        for name in view.prunable:
            rest = masks[name] & ~view.lowest(view.weights[name].abs(), masks[name], 3)
            masks[name] = rest | view.lowest(-self.average(view, name), ~rest, 3)
        return masks


class Revives(Good):
    """Gives values to all pruned weights, those that stay pruned as well."""

    name = "revives"

    def values(self, view, grown):
        return {name: 0.1 * view.gradients[name] * ~view.masks[name] for name in view.prunable}


class ForgetsOnItself(Good):
    """Keeps its averages on itself, where no checkpoint finds them."""

    name = "forgets-on-itself"
    _averages: dict[str, Any] = PrivateAttr(default_factory=dict)

    def average(self, view, name):
        before = self._averages.get(name, torch.zeros_like(view.gradients[name]))
        self._averages[name] = before + view.gradients[name].abs()
        return self._averages[name]


class ForgetsOnItsClass(Good):
    """Keeps its averages on its class, anew for each level."""

    name = "forgets-on-its-class"
    averages: ClassVar[dict[str, Any]] = {}

    def average(self, view, name):
        if view.step == 50:
            self.averages.pop(name, None)
        before = self.averages.get(name, torch.zeros_like(view.gradients[name]))
        self.averages[name] = before + view.gradients[name].abs()
        return self.averages[name]


class GlobalGrowth(Good):
    """Draws what grows from torch's global generator."""

    name = "global-growth"

    def average(self, view, name):
        return torch.rand(view.masks[name].shape)


class GrowsMore(Good):
    """Grows one weight more than it drops."""

    name = "grows-more"

    def masks(self, view):
        masks = super().masks(view)
        for name in view.prunable:
            masks[name] = masks[name] | view.lowest(view.weights[name], ~masks[name], 1)
        return masks


class GrowsExempt(Good):
    """Prunes the exempt layer too."""

    name = "grows-exempt"

    def masks(self, view):
        return {name: mask.flip(0) & (view.weights[name] > 0) if name not in view.prunable else mask
                for name, mask in view.masks.items()}


class InPlaceMasks(Good):
    """Works on the weights of the view."""

    name = "in-place-masks"

    def masks(self, view):
        for weight in view.weights.values():
            weight.abs_()
        return super().masks(view)


class NeverSparse(Good):
    """Ends with as many weights as before pruning."""

    name = "never-sparse"
    by_layer: ClassVar[bool] = False

    def progress(self, step, steps):
        return 0.5


class TooLate(Good):
    """Moves the masks after the last step."""

    name = "too-late"

    def updates(self, steps, steps_per_epoch):
        return [0, steps]


class ListedState(Good):
    """Keeps a list in its state."""

    name = "listed-state"

    def masks(self, view):
        view.state.setdefault("steps", []).append(view.step)
        return super().masks(view)


class MetaState(Good):
    """Keeps a tensor without numbers in its state."""

    name = "meta-state"
    kept: ClassVar[torch.Tensor] = torch.ones(2, device="meta")

    def masks(self, view):
        view.state["kept"] = self.kept
        return super().masks(view)


class SparseState(MetaState):
    """Keeps a sparse tensor in its state."""

    name = "sparse-state"
    kept: ClassVar[torch.Tensor] = torch.eye(2).to_sparse()


class ComplexState(MetaState):
    """Keeps complex numbers in its state."""

    name = "complex-state"
    kept: ClassVar[torch.Tensor] = torch.ones(2, dtype=torch.complex64)


class WithoutGradients(Good):
    """Reads gradients, but does not ask for them."""

    name = "without-gradients"
    gradients: ClassVar[bool] = False


class Growing(Good):
    """Keeps the counts of layers, but begins with more weights."""

    name = "growing"

    def progress(self, step, steps):
        return float(step > 100)


FAULTS = {
    Revives: "gives values to weights of '0.weight' that did not regrow",
    ForgetsOnItself: "keep everything that it remembers in view.state",
    ForgetsOnItsClass: "from the state of a checkpoint",
    GlobalGrowth: "masks() changes torch's random state",
    GrowsMore: "weights of 0.weight at step 50 of level 1; expected",
    GrowsExempt: "changes the mask of the exempt layer '6.weight'",
    InPlaceMasks: "masks() changes view.weights",
    NeverSparse: "ends with a progress of 0.5",
    TooLate: "moves the masks at step 0 and up to 600; a level has steps 0 to 599",
    ListedState: "keeps 'steps' of type list in its state",
    MetaState: "keeps 'kept', a tensor on the device 'meta', in its state; checkpoints",
    SparseState: "keeps 'kept', a sparse tensor, in its state; checkpoints",
    ComplexState: "keeps 'kept' of torch.complex64 in its state",
    WithoutGradients: "set gradients = True in the class",
    Growing: "set by_layer = False",
}

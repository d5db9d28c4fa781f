"""Families of networks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from sdd_core.plugin.base import Plugin

if TYPE_CHECKING:
    from torch import nn


class Model(Plugin):
    """A family of networks."""

    kind: ClassVar[str] = "model"
    hook: ClassVar[str] = "sdd_models"
    title: ClassVar[str] = "Models"

    def build(self, input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
        """Return a newly initialised network for examples of `input_shape`, with `num_classes`
        outputs. The caller has seeded torch's global generator."""
        raise NotImplementedError

    def fresh(self, input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
        """Return another, independently initialised network, for levels that start from fresh
        weights."""
        return self.build(input_shape, num_classes)

    def notes(self, input_shape: tuple[int, ...], num_classes: int) -> Sequence[str]:
        """Return lines for the user about what `build` does to trained weights, such as layers
        that they do not fit. They are printed when the dense network is first made."""
        return ()

    def exempt(self) -> tuple[str, ...]:
        """Return patterns of the layers that the model's authors never prune."""
        return ()

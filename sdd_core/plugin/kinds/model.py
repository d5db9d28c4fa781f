"""Families of networks."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from sdd_core.plugin.base import (  # noqa: F401 (they belong to the kinds below)
    AddedLater,
    Fraction,
    Frozen,
    NonNegative,
    Plugin,
    Positive,
    label,
)

if TYPE_CHECKING:

    from torch import nn



class Model(Plugin):
    """A family of networks."""

    kind: ClassVar[str] = "model"
    hook: ClassVar[str] = "sdd_models"
    title: ClassVar[str] = "Models"

    def build(self, input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
        """A freshly initialised network for examples of `input_shape`, with `num_classes`
        outputs. torch's global generator has been seeded for it."""
        raise NotImplementedError

    def fresh(self, input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
        """Another network, initialised independently, for levels that start anew."""
        return self.build(input_shape, num_classes)

    def exempt(self) -> tuple[str, ...]:
        """Patterns of the layers that its authors never prune."""
        return ()

"""Families of networks."""

from __future__ import annotations

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

    def exempt(self) -> tuple[str, ...]:
        """Return patterns of the layers that the model's authors never prune."""
        return ()

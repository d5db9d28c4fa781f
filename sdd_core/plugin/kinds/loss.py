"""Training losses."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from sdd_core.plugin.base import Plugin

if TYPE_CHECKING:
    from torch import Tensor


class Loss(Plugin):
    """A loss that training minimises.

    teacher: the network whose logits a pruned level learns from: 'dense', or 'previous' for the
        level before. With a teacher, the dense network is trained with cross-entropy.
    """

    kind: ClassVar[str] = "loss"
    hook: ClassVar[str] = "sdd_losses"
    title: ClassVar[str] = "Losses"
    teacher: ClassVar[Literal["dense", "previous"] | None] = None

    def loss(self, logits: Tensor, labels: Tensor, teacher: Tensor | None) -> Tensor:
        """Return the mean loss of a batch, a tensor without dimensions.

        logits: float `[batch, classes]`. labels: int64 `[batch]`. teacher: the teacher's logits
        without augmentation, float `[batch, classes]`; None if there is no teacher.
        """
        raise NotImplementedError

"""What training minimises."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

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

    from torch import Tensor



class Loss(Plugin):
    """What training minimises.

    teacher: the network whose logits a pruned level learns from: 'dense', or 'previous' for the
        level before. Losses with a teacher leave the dense network to cross-entropy.
    """

    kind: ClassVar[str] = "loss"
    hook: ClassVar[str] = "sdd_losses"
    title: ClassVar[str] = "Losses"
    teacher: ClassVar[Literal["dense", "previous"] | None] = None

    def loss(self, logits: Tensor, labels: Tensor, teacher: Tensor | None) -> Tensor:
        """The mean loss of a batch, a tensor without dimensions.

        logits: float `[batch, classes]`. labels: int64 `[batch]`. teacher: float
        `[batch, classes]`, its logits without augmentation; None where there is none.
        """
        raise NotImplementedError

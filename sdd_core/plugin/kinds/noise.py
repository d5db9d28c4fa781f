"""Which training labels are wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

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

    import torch
    from torch import Tensor

    from sdd_core.data.dataset import Dataset


class LabelNoise(Plugin):
    """Which training labels are wrong. The true labels are kept beside them by the engine."""

    kind: ClassVar[str] = "noise"
    hook: ClassVar[str] = "sdd_label_noise"
    title: ClassVar[str] = "Label noise"

    rate: float = Field(
        default=0.4, ge=0, le=1, description="fraction of training labels that is drawn"
    )

    def corrupt(self, labels: Tensor, data: Dataset, generator: torch.Generator) -> Tensor:
        """The noisy labels, int64 `[N]`, for the true `labels`, int64 `[N]`, of the whole
        training set. `generator` is the only source of randomness. Do not change `labels`."""
        raise NotImplementedError

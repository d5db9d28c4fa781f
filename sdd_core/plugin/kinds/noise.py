"""Label noise: changes to training labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from sdd_core.plugin.base import Plugin

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from sdd_core.data.dataset import Dataset


class LabelNoise(Plugin):
    """A change to the training labels. The engine keeps the true labels as well."""

    kind: ClassVar[str] = "noise"
    hook: ClassVar[str] = "sdd_label_noise"
    title: ClassVar[str] = "Label noise"

    rate: float = Field(
        default=0.4, ge=0, le=1, description="fraction of the training labels to select for noise"
    )

    def corrupt(self, labels: Tensor, data: Dataset, generator: torch.Generator) -> Tensor:
        """Return noisy labels, int64 `[N]`, for the true `labels`, int64 `[N]`, of the whole
        training set. Use `generator` as the only source of randomness. Do not change `labels`."""
        raise NotImplementedError

"""No label noise."""

import torch
from pydantic import Field
from torch import Tensor

from sdd_core import Dataset, LabelNoise


class NoNoise(LabelNoise):
    """All training labels are the true ones."""

    name = "none"

    rate: float = Field(default=0.0, ge=0, le=0, description="0, for no label is wrong")

    def corrupt(self, labels: Tensor, data: Dataset, generator: torch.Generator) -> Tensor:
        return labels.clone()

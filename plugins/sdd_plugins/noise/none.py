"""No label noise."""

from typing import Any

import torch
from pydantic import Field, field_validator
from torch import Tensor

from sdd_core import Dataset, LabelNoise


class NoNoise(LabelNoise):
    """No label noise: all training labels are the true ones."""

    name = "none"

    rate: float = Field(default=0.0, ge=0, le=0, description="always 0: no label is changed")

    @field_validator("rate", mode="before")
    @classmethod
    def _asks_for_noise(cls, rate: Any) -> Any:
        if isinstance(rate, int | float) and rate > 0:
            raise ValueError(f"noise 'none' changes no labels, but rate is {rate}; set the name "
                             "too, for example noise.name = symmetric")
        return rate

    def corrupt(self, labels: Tensor, data: Dataset, generator: torch.Generator) -> Tensor:
        return labels.clone()

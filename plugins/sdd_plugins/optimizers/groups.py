"""Groups of parameters with other options."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field
from torch import Tensor

from sdd_core import AddedLater, Optimizer


class Grouped(Optimizer):
    """Base of optimizers that can leave biases and normalisations without weight decay."""

    decay_biases: Annotated[bool, AddedLater()] = Field(
        default=True,
        description="whether weight decay also applies to parameters with one dimension: biases "
        "and scales of normalisations; without it, training takes the general path",
    )


def by_decay(parameters: Mapping[str, Tensor], weight_decay: float) -> list[dict[str, Any]]:
    """Return the groups of an optimizer that leaves parameters with one dimension without decay."""
    matrices = [one for one in parameters.values() if one.dim() > 1]
    others = [one for one in parameters.values() if one.dim() <= 1]
    groups = [{"params": matrices, "weight_decay": weight_decay},
              {"params": others, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]

import math
from collections.abc import Iterable, Mapping
from typing import ClassVar

from pydantic import Field, model_validator
from torch import Tensor

from sdd_core import MaskView, SparseTraining


class Gmp(SparseTraining):
    """Gradual magnitude pruning: the sparsity rises by a cubic while the level trains.

    The level starts with the masks before it was pruned. At each update the remaining weights of
    smallest magnitude are pruned; pruned weights do not return. The pruner decides how many weights
    remain at the end, and its scope which magnitudes compete.
    """

    name = "gmp"
    source = "Zhu & Gupta, 2017, arXiv:1710.01878, eq. 1"
    by_layer: ClassVar[bool] = False
    patterns: ClassVar[bool] = True

    begin: float = Field(
        default=0.0, ge=0, lt=1, description="fraction of the level's training after which the "
        "pruning begins"
    )
    end: float = Field(
        default=0.5, gt=0, lt=1, description="fraction of the level's training after which the "
        "final sparsity is reached"
    )
    every: int = Field(default=100, ge=1, le=10**9, description="steps between two updates")

    @model_validator(mode="after")
    def _in_order(self) -> "Gmp":
        if self.begin >= self.end:
            raise ValueError(f"begin is {self.begin:g} and end {self.end:g}; expected a begin "
                             "before the end")
        return self

    def updates(self, steps: int, steps_per_epoch: int) -> Iterable[int]:
        first, last = self._range(steps)
        return {*range(first, last, self.every), last}

    def progress(self, step: int, steps: int) -> float:
        first, last = self._range(steps)
        left = 1 - (step - first) / max(1, last - first)
        # s_t = s_f + (s_i - s_f) left^3, as a part of the way from s_i to s_f
        return 1 - min(1.0, left) ** 3 if step < last else 1.0

    def masks(self, view: MaskView) -> Mapping[str, Tensor]:
        return view.prune({name: view.weights[name].abs() for name in view.prunable})

    def _range(self, steps: int) -> tuple[int, int]:
        return math.floor(self.begin * steps), math.floor(self.end * steps)

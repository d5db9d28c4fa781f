from collections.abc import Iterable, Mapping
from typing import ClassVar

from pydantic import Field, model_validator
from torch import Tensor

from sdd_core import MaskView, SparseTraining


class AcDc(SparseTraining):
    """AC/DC: phases of dense and of compressed training in turn.

    The level starts dense, that is, with the masks before it was pruned. Each compressed phase
    keeps the weights of largest magnitude, as many as the pruner does, under its scope; each dense
    phase trains all weights again, the pruned ones from zero. The last phase is compressed; the
    dense phase before it is longer where the phases do not fill the time. The defaults are the
    paper's for ImageNet, 10, 5 and 15 of 100 epochs.
    """

    name = "ac-dc"
    source = "Peste et al., 2021, arXiv:2106.12379, algorithm 1 and sec. 4.1"
    by_layer: ClassVar[bool] = False
    patterns: ClassVar[bool] = True

    warmup: float = Field(
        default=0.1, ge=0, lt=1, description="fraction of the level's training before the first "
        "compressed phase"
    )
    phase: float = Field(
        default=0.05, gt=0, lt=1, description="length of a phase, as a fraction of the level's "
        "training"
    )
    last: float = Field(
        default=0.15, gt=0, lt=1, description="length of the last, compressed phase, as a fraction "
        "of the level's training"
    )

    @model_validator(mode="after")
    def _fits(self) -> "AcDc":
        if self.warmup + self.last > 1:
            raise ValueError(f"warmup {self.warmup:g} and last {self.last:g} are more than the "
                             "whole training; expected a sum of at most 1")
        return self

    def updates(self, steps: int, steps_per_epoch: int) -> Iterable[int]:
        first, phase, count, last = self._phases(steps)
        return {*range(first, first + count * phase, phase), last}

    def progress(self, step: int, steps: int) -> float:
        first, phase, count, last = self._phases(steps)
        number = (step - first) // phase
        return float(step >= last or (0 <= number < count and number % 2 == 0))

    def masks(self, view: MaskView) -> Mapping[str, Tensor]:
        if self.progress(view.step, view.steps) == 0:
            return view.before
        return view.prune({name: view.weights[name].abs() for name in view.prunable})

    def _phases(self, steps: int) -> tuple[int, int, int, int]:
        """Return the step of the first compressed phase, the length of a phase, the number of
        phases before the last compressed one (an even one), and the step of that one."""
        first, phase = round(self.warmup * steps), max(1, round(self.phase * steps))
        last = min(steps - 1, max(first, round((1 - self.last) * steps)))
        return first, phase, (last - first) // (2 * phase) * 2, last

from collections.abc import Mapping

from pydantic import Field
from torch import Tensor

from sdd_core import LevelView, Pruner


class Gradient(Pruner):
    """Magnitude times gradient: the smallest |w dL/dw| go.

    The gradient of the mean training loss, noisy labels included, over random batches. The
    authors' code takes one batch.
    """

    name = "gradient"
    source = (
        "Blalock et al., 2020, arXiv:2003.03033, 'Global Magnitude Gradient'; "
        "He et al., 2022, arXiv:2206.08684, appendix A.1"
    )

    batches: int = Field(
        default=1, ge=1, description="random batches that the gradient is averaged over"
    )
    batch_size: int = Field(default=128, ge=1, description="examples in each of them")

    def scores(self, level: LevelView) -> Mapping[str, Tensor]:
        gradients = level.gradients(self.batches, self.batch_size)
        return {name: (level.weights[name] * gradients[name]).abs() for name in level.prunable}

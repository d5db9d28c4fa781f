from collections.abc import Mapping

from pydantic import Field
from torch import Tensor

from sdd_core import LevelView, Pruner


class Gradient(Pruner):
    """Magnitude times gradient: prune the weights with the smallest |w dL/dw|.

    L is the mean training loss over random batches, with noisy labels. The authors' code uses one
    batch.
    """

    name = "gradient"
    source = (
        "Blalock et al., 2020, arXiv:2003.03033, 'Global Magnitude Gradient'; "
        "He et al., 2022, arXiv:2206.08684, appendix A.1"
    )

    batches: int = Field(
        default=1, ge=1, description="number of random batches for the gradient"
    )
    batch_size: int = Field(default=128, ge=1, description="examples per batch")

    def scores(self, level: LevelView) -> Mapping[str, Tensor]:
        gradients = level.gradients(self.batches, self.batch_size)
        return {name: (level.weights[name] * gradients[name]).abs() for name in level.prunable}

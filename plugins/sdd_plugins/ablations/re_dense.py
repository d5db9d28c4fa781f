from dataclasses import replace

import numpy as np
from pydantic import Field

from sdd_core import Ablation, Dense, Retraining


class ReDense(Ablation):
    """Re-dense training: a level trains under its mask, then all its weights do.

    Pruned weights start again from zero. If the sparse network was held back from memorising
    noise by its capacity alone, the re-dense one overfits. Sparsity is that of the masked part.
    """

    name = "re-dense"
    source = "He et al., 2022, arXiv:2206.08684, appendix; Han et al., 2017, arXiv:1607.04381"

    masked_epochs: int | None = Field(
        default=None, ge=0,
        description="epochs under the mask; not given: all that the schedule has",
    )
    epochs: int | None = Field(
        default=None, ge=1,
        description="epochs of all weights; not given: as many as the dense network's",
    )
    lr: float | None = Field(
        default=None, gt=0, allow_inf_nan=False,
        description="constant learning rate of all weights; not given: the dense schedule again",
    )

    def retraining(self, dense: Dense, retraining: Retraining, level: int) -> Retraining:
        sparse = np.asarray(retraining.learning_rates)
        if self.masked_epochs is not None:
            sparse = sparse[: self.masked_epochs * dense.steps_per_epoch]
        again = np.asarray(dense.learning_rates)
        if self.epochs is not None:
            # The schedule stretched over another number of epochs.
            steps = self.epochs * dense.steps_per_epoch
            again = again[np.arange(steps) * len(again) // steps]
        if self.lr is not None:
            again = np.full(len(again), self.lr)
        rates = np.concatenate([sparse, again])
        return replace(retraining, learning_rates=rates, masked_steps=len(sparse))

from dataclasses import replace
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from sdd_core import Ablation, Dense, Retraining

Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class ReDense(Ablation):
    """Re-dense training: a level trains under its mask, then all its weights do.

    Pruned weights start again from zero. By the paper's rule the learning rate is constant, the
    last one of the sparse training; with `lr = "dense"` the whole schedule of the dense network
    starts again. Where the schedule ends at 0, as `cosine` does, give a rate. Levels stand at the
    sparsity that they had before their weights came back.
    """

    name = "re-dense"
    source = (
        "He et al., 2022, arXiv:2206.08684, sec. 3.1 and appendix A.4; "
        "Han et al., 2017, arXiv:1607.04381"
    )
    # By default 1 started the dense schedule again, and it trained the sparse part once more.
    revision: ClassVar[int] = 2

    masked_epochs: int | None = Field(
        default=None, ge=0,
        description="epochs under the mask, from where the schedule starts; not given: go on from "
        "the level as it was trained",
    )
    epochs: int | None = Field(
        default=None, ge=1,
        description="epochs of all weights; not given: as many as the dense network's",
    )
    lr: Rate | Literal["last", "dense"] = Field(
        default="last",
        description="learning rate of all weights: constant, a number or 'last', the one that the "
        "sparse training ends with; or 'dense', the dense network's schedule again",
    )

    def retraining(self, dense: Dense, retraining: Retraining, level: int) -> Retraining:
        """How all weights train, after the sparse part where that is trained again."""
        sparse, whole = np.asarray(retraining.learning_rates), np.asarray(dense.learning_rates)
        steps = len(whole) if self.epochs is None else self.epochs * dense.steps_per_epoch
        if self.lr == "dense":  # stretched over another number of epochs
            again = whole[np.arange(steps) * len(whole) // steps]
        else:
            again = np.full(steps, sparse[-1] if self.lr == "last" else self.lr)
        if self.masked_epochs is None:
            # The epochs are counted on from where the sparse training ended.
            first = min(retraining.first_step + len(sparse), len(whole))
            return Retraining("level", again, first, masked_steps=0)
        sparse = sparse[: self.masked_epochs * dense.steps_per_epoch]
        rates = np.concatenate([sparse, again])
        return replace(retraining, learning_rates=rates, masked_steps=len(sparse))

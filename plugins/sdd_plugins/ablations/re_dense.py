from dataclasses import replace
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from sdd_core import Ablation, Dense, Retraining, SddError

Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class ReDense(Ablation):
    """Re-dense training: train a level under its mask, then train all its weights.

    Pruned weights start from zero. By the paper's rule the learning rate is constant, the last one
    of the sparse training; with `lr = "dense"` the schedule of the dense network is repeated. If
    the schedule ends at 0, like `cosine`, set a rate. Levels are reported at the sparsity before
    their weights were restored.
    """

    name = "re-dense"
    source = (
        "He et al., 2022, arXiv:2206.08684, sec. 3.1 and appendix A.4; "
        "Han et al., 2017, arXiv:1607.04381"
    )
    # By default, revision 1 repeated the dense schedule and trained the sparse part again.
    revision: ClassVar[int] = 2

    masked_epochs: int | None = Field(
        default=None, ge=0,
        description="epochs under the mask, from the schedule's start; default: continue from the "
        "trained level",
    )
    epochs: int | None = Field(
        default=None, ge=1,
        description="epochs of all weights; default: the dense network's number",
    )
    lr: Rate | Literal["last", "dense"] = Field(
        default="last",
        description="learning rate of all weights: a constant number; 'last', the final one of the "
        "sparse training; or 'dense', the dense network's schedule",
    )

    def retraining(self, dense: Dense, retraining: Retraining, level: int) -> Retraining:
        """Return the training of all weights, after the sparse part if that is trained again."""
        sparse, whole = np.asarray(retraining.learning_rates), np.asarray(dense.learning_rates)
        steps = len(whole) if self.epochs is None else self.epochs * dense.steps_per_epoch
        if not len(whole if self.lr == "dense" else sparse) and not isinstance(self.lr, float):
            raise SddError(f"ablation.lr {self.lr!r}: there is no such learning rate, because that "
                           "network is not trained; set a number")
        if self.lr == "dense":  # stretched over another number of epochs
            again = whole[np.arange(steps) * len(whole) // steps]
        else:
            again = np.full(steps, sparse[-1] if self.lr == "last" else self.lr)
        if self.masked_epochs is None:
            # Continue the count of epochs from the end of the sparse training.
            first = min(retraining.first_step + len(sparse), len(whole))
            return Retraining("level", again, first, masked_steps=0)
        sparse = sparse[: self.masked_epochs * dense.steps_per_epoch]
        rates = np.concatenate([sparse, again])
        return replace(retraining, learning_rates=rates, masked_steps=len(sparse))

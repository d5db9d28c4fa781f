import numpy as np
from pydantic import Field

from sdd_core import Dense, Retraining, Schedule


class Finetune(Schedule):
    """Finetuning: continue from the pruned level's weights, with a small constant learning rate."""

    name = "finetune"
    source = "Han et al., 2015, arXiv:1506.02626; He et al., 2022, arXiv:2206.08684, appendix A.2"

    lr: float = Field(
        default=0.001, gt=0, allow_inf_nan=False,
        description="constant learning rate; the paper uses the last one of the dense training, "
        "0.001 on CIFAR and 0.1 on MNIST",
    )
    epochs: int | None = Field(
        default=None, ge=0, le=100_000,
        description="epochs of retraining; 0: pruned levels are measured without retraining; "
        "default: those of the dense network",
    )

    def retraining(self, dense: Dense) -> Retraining:
        steps = len(dense.learning_rates)
        if self.epochs is not None:
            steps = self.epochs * dense.steps_per_epoch
        return Retraining("previous", np.full(steps, self.lr))

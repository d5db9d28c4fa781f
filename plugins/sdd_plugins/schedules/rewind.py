from typing import Literal

from pydantic import Field

from sdd_core import Dense, Retraining, Schedule, SddError


class Rewind(Schedule):
    """Weight rewinding: reset kept weights and learning rate to an early step of dense training.

    With step 0, the initialisation, the level is a lottery ticket. The point is given in steps
    (iterations) or epochs.
    """

    name = "rewind"
    source = (
        "Frankle & Carbin, 2019, arXiv:1803.03635, sec. 2; "
        "Frankle et al., 2020, arXiv:1912.05671; Renda et al., 2020, arXiv:2003.02389, sec. 3"
    )

    to: int = Field(
        default=0, ge=0, description="step (or epoch) of dense training to rewind to"
    )
    unit: Literal["step", "epoch"] = Field(default="step", description="unit of `to`")

    def retraining(self, dense: Dense) -> Retraining:
        """Return the rest of the dense schedule, from the rewind point. Raises SddError if the
        dense training is not longer than `to`."""
        step = self.to * (dense.steps_per_epoch if self.unit == "epoch" else 1)
        if step and step >= len(dense.learning_rates):
            raise SddError(
                f"retrain.to: cannot rewind to step {step}, the dense network trains only "
                f"{len(dense.learning_rates)} steps; choose an earlier one"
            )
        return Retraining("rewind point", dense.learning_rates[step:], first_step=step)

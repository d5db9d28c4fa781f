from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor
from torch.nn.functional import cross_entropy, kl_div, log_softmax

from sdd_core import Loss


class Distillation(Loss):
    """Distillation: a pruned level learns from the labels and from the dense network.

    (1 - alpha) CE(labels, student) + alpha T^2 KL(teacher / T || student / T), where the logits
    divided by the temperature T are turned into probabilities.
    """

    name = "distillation"
    source = (
        "Hinton et al., 2015, arXiv:1503.02531; against sparse double descent: "
        "Quetu & Tartaglione, 2023, arXiv:2303.01213, and 2024 (alpha 0.8, T 10)"
    )
    teacher: ClassVar[Literal["dense", "previous"] | None] = "dense"

    alpha: float = Field(default=0.8, ge=0, le=1, description="weight of the teacher in the loss")
    temperature: float = Field(
        default=10.0, gt=0, allow_inf_nan=False, description="divisor of the logits"
    )

    def loss(self, logits: Tensor, labels: Tensor, teacher: Tensor | None) -> Tensor:
        assert teacher is not None
        target = log_softmax(teacher / self.temperature, 1)
        student = log_softmax(logits / self.temperature, 1)
        divergence = kl_div(student, target, reduction="batchmean", log_target=True)
        softened = self.alpha * self.temperature**2 * divergence
        return (1 - self.alpha) * cross_entropy(logits, labels) + softened


class SparseDistillation(Distillation):
    """Distillation from a sparse teacher: the level before."""

    name = "sparse-distillation"
    teacher: ClassVar[Literal["dense", "previous"] | None] = "previous"

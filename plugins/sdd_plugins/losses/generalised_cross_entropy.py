from pydantic import Field
from torch import Tensor
from torch.nn.functional import log_softmax

from sdd_core import Loss


class GeneralisedCrossEntropy(Loss):
    """Generalised cross-entropy: (1 - p^q) / q for the probability p of the label.

    It lies between cross-entropy (q towards 0) and mean absolute error (q = 1), on which wrong
    labels have less effect.
    """

    name = "generalised-cross-entropy"
    source = "Zhang & Sabuncu, 2018, arXiv:1805.07836, eq. 6"

    q: float = Field(default=0.7, gt=0, le=1, description="exponent; 1: mean absolute error")

    def loss(self, logits: Tensor, labels: Tensor, teacher: Tensor | None) -> Tensor:
        log_p = log_softmax(logits, 1).gather(1, labels[:, None]).squeeze(1)
        return -(self.q * log_p).expm1().mean() / self.q

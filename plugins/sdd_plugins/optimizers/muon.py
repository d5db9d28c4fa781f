from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor, nn

from sdd_core import Optimizer, SddError


class Muon(Optimizer):
    """Muon: momentum with orthogonalised updates for matrices, and AdamW for other parameters.

    The kernel of a convolution is a matrix of its outputs and of all other dimensions. Biases,
    normalisations and other parameters with one dimension are trained by AdamW. A pruned weight
    stays at zero, whatever the orthogonalised update is there. Needs torch 2.9.
    """

    name = "muon"
    source = "Jordan et al., 2024, kellerjordan.github.io/posts/muon; torch.optim.Muon"

    momentum: float = Field(default=0.95, ge=0, lt=1, description="momentum")
    steps: int = Field(
        default=5, ge=1, le=99, description="Newton-Schulz iterations of the orthogonalisation"
    )
    adamw_lr: float = Field(
        default=0.1, gt=0, le=1e6,
        description="learning rate of AdamW, as a multiple of train.lr",
    )

    def make_named(
        self, parameters: Mapping[str, Tensor], lr: float, weight_decay: float
    ) -> list[torch.optim.Optimizer]:
        """Return both optimizers, or one. Raises SddError if torch has no Muon."""
        if not hasattr(torch.optim, "Muon"):
            raise SddError(f"optimizer 'muon' needs torch 2.9 or later, not {torch.__version__}")
        matrices = [as_matrix(one) for one in parameters.values() if one.dim() > 1]
        others = [one for one in parameters.values() if one.dim() <= 1]
        found: list[torch.optim.Optimizer] = []
        if matrices:
            found.append(torch.optim.Muon(matrices, lr=lr, weight_decay=weight_decay,
                                          momentum=self.momentum, ns_steps=self.steps))
        if others:
            found.append(torch.optim.AdamW(others, lr=lr * self.adamw_lr,
                                           weight_decay=weight_decay))
        return found


def as_matrix(parameter: Tensor) -> Tensor:
    """Return a parameter as a matrix `[outputs, rest]` in the same memory, with its gradient."""
    if parameter.dim() == 2:
        return parameter
    matrix = nn.Parameter(_flat(parameter.detach()))
    assert parameter.grad is not None
    matrix.grad = _flat(parameter.grad)
    return matrix


def _flat(tensor: Tensor) -> Tensor:
    # A kernel may be channels-last. The order of the columns does not matter.
    last = tensor if tensor.is_contiguous() else tensor.movedim(1, -1)
    return last.view(len(tensor), -1)

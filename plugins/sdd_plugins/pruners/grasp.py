from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import cross_entropy

from sdd_core import LevelView, Pruner, second_derivatives


class Grasp(Pruner):
    """GraSP, gradient signal preservation: prune the weights least needed for the gradient's norm.

    The score is w Hg, with the Hessian H and the gradient g of the mean training loss with respect
    to the prunable weights, at the dense network's initialisation under the current masks. Removing
    w changes the squared norm of g by about -2 w Hg, so the lowest scores, with sign, are pruned
    first. Logits are divided by a temperature, as in the authors' code. It is meant for pruning
    once, before any training.
    """

    name = "grasp"
    source = "Wang et al., 2020, arXiv:2002.07376, eq. 8 and algorithm 2"

    batches: int = Field(default=1, ge=1, description="number of random batches to average")
    batch_size: int = Field(default=128, ge=1, description="examples per batch")
    temperature: float = Field(
        default=200.0, gt=0, allow_inf_nan=False, description="divisor of the logits"
    )

    def scores(self, level: LevelView) -> Mapping[str, Tensor]:
        network = level.network("initialisation").train()
        weights = [dict(network.named_parameters())[name] for name in level.prunable]
        batches = level.batches(self.batches, self.batch_size)
        count = sum(len(labels) for _, labels in batches)

        def gradients(inputs: Tensor, labels: Tensor, *, again: bool) -> tuple[Tensor, ...]:
            logits = network(inputs) / self.temperature
            loss = cross_entropy(logits, labels, reduction="sum") / count
            return torch.autograd.grad(
                loss, weights, create_graph=again, materialize_grads=True
            )

        with second_derivatives(network):
            gradient = [torch.zeros_like(weight) for weight in weights]
            for batch in batches:
                for total, part in zip(gradient, gradients(*batch, again=False), strict=True):
                    total.add_(part)
            curved = [torch.zeros_like(weight) for weight in weights]
            for batch in batches:
                parts = zip(gradients(*batch, again=True), gradient, strict=True)
                # The gradient of <g of this batch, g of all> is this batch's share of Hg.
                product = torch.stack([(part * whole).sum() for part, whole in parts]).sum()
                shares = torch.autograd.grad(product, weights, materialize_grads=True)
                for total, share in zip(curved, shares, strict=True):
                    total.add_(share)
        return {
            name: (weight * hg).detach().cpu()
            for name, weight, hg in zip(level.prunable, weights, curved, strict=True)
        }

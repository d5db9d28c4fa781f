from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import cross_entropy

from sdd_core import LevelView, Pruner, second_derivatives


class Obd(Pruner):
    """Optimal Brain Damage: prune the weights with the smallest h w^2 / 2.

    This estimates how much the loss rises without a weight, with the diagonal h of the Hessian of
    the mean training loss after the level's training, over random examples with their noisy labels,
    in evaluation mode. The paper approximates the diagonal by back-propagating second derivatives
    layer by layer, which only simple networks allow; here it is estimated from Hessian products
    with random signs v, as the mean of v Hv, whose expectation is exact. Scores may be negative:
    such a weight's removal is expected to lower the loss.
    """

    name = "obd"
    source = (
        "LeCun et al., 1990, 'Optimal Brain Damage', eq. 5; the diagonal's estimate: "
        "Bekas et al., 2007, doi:10.1016/j.apnum.2007.01.003"
    )

    batches: int = Field(default=1, ge=1, description="number of random batches to average")
    batch_size: int = Field(default=128, ge=1, description="examples per batch")
    vectors: int = Field(
        default=100, ge=1, description="number of random vectors for the Hessian's diagonal"
    )

    def scores(self, level: LevelView) -> Mapping[str, Tensor]:
        network = level.network()
        weights = [dict(network.named_parameters())[name] for name in level.prunable]
        masks = [level.masks[name] for name in level.prunable]
        batches = level.batches(self.batches, self.batch_size)
        count = sum(len(labels) for _, labels in batches)
        draw = level.generator("hessian diagonal")
        diagonals = [torch.zeros_like(weight) for weight in weights]
        with second_derivatives(network):
            for _ in range(self.vectors):
                # Pruned weights stay zero, and their signs would only add noise.
                signs = [(2 * torch.randint(2, mask.shape, generator=draw) - 1).mul(mask).to(weight)
                         for mask, weight in zip(masks, weights, strict=True)]
                for inputs, labels in batches:
                    loss = cross_entropy(network(inputs), labels, reduction="sum") / count
                    gradients = torch.autograd.grad(loss, weights, create_graph=True,
                                                    materialize_grads=True)
                    pairs = zip(gradients, signs, strict=True)
                    product = torch.stack([(one * sign).sum() for one, sign in pairs]).sum()
                    if not product.requires_grad:  # the loss does not depend on the weights
                        continue
                    curved = torch.autograd.grad(product, weights, materialize_grads=True)
                    for total, sign, part in zip(diagonals, signs, curved, strict=True):
                        total.add_(sign * part, alpha=1 / self.vectors)
        return {
            name: (diagonal * weight.square() / 2).detach().cpu()
            for name, weight, diagonal in zip(level.prunable, weights, diagonals, strict=True)
        }

import math
from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from sdd_core import LevelView, Pruner


class SynFlow(Pruner):
    """SynFlow, synaptic flow: prune the smallest |w dR/dw| at initialisation, in many small steps.

    R is the sum of the outputs of the network with absolute weights, in evaluation mode, for an
    input of ones; no data is used. The score is an absolute value, as in the authors' code, because
    w dR/dw can be negative, for example before a layer normalisation. Within one level the density
    decreases exponentially to its target, and the flow is computed again after each step, which
    keeps whole layers from disappearing. The computation uses double precision, because the flow of
    a deep network is very large or small. It is meant for pruning once, before any training.
    """

    name = "synflow"
    source = (
        "Tanaka et al., 2020, arXiv:2006.05467, eq. 1 and algorithm 1; "
        "github.com/ganguli-lab/Synaptic-Flow"
    )
    revision = 2

    steps: int = Field(default=100, ge=1, description="computations of the flow per level")

    def scores(self, level: LevelView) -> Mapping[str, Tensor]:
        network = level.network("initialisation").double()
        _make_positive(network)
        weights = {name: p for name, p in network.named_parameters() if name in level.prunable}
        device = level.device
        ones = torch.ones(1, *level.data.input_shape, dtype=torch.float64, device=device)
        kept = torch.cat([level.masks[name].flatten() for name in weights]).to(device)
        start, end = kept.double().mean().item(), level.target_density or 0.0
        ratio = end / start if start else 0.0
        # Weights pruned in an earlier step have lower scores than all those pruned later.
        gone = torch.zeros(len(kept), dtype=torch.float64, device=device)

        def flow() -> Tensor:
            total = network(ones).sum()
            gradients = torch.autograd.grad(total, list(weights.values()), materialize_grads=True)
            pairs = zip(weights.values(), gradients, strict=True)
            return torch.cat([(weight * slope).detach().abs().flatten() for weight, slope in pairs])

        for step in range(1, self.steps):  # the engine does the last step with the scores
            # The authors round the pruned number down, so that some weights always remain.
            target_density = math.ceil(len(kept) * start * ratio ** (step / self.steps))
            lowest = flow().masked_fill(~kept, torch.inf).argsort(stable=True)
            now = lowest[: int(kept.sum()) - target_density]
            kept[now], gone[now] = False, float(step - self.steps)
            with torch.no_grad():
                for weight, mask in zip(weights.values(), _split(kept, weights), strict=True):
                    weight.masked_fill_(~mask, 0.0)
        scores = _split(torch.where(kept, flow(), gone), weights)
        return dict(zip(weights, scores, strict=True))


@torch.no_grad()
def _make_positive(network: nn.Module) -> None:
    """Replace the parameters and, as the authors do, the statistics of batch normalisation by their
    absolute values; other buffers are not weights and may be masks of -inf."""
    statistics = [
        buffer for module in network.modules() if isinstance(module, _NormBase)
        for buffer in module.buffers(recurse=False)
    ]
    for tensor in (*network.parameters(), *statistics):
        tensor.abs_()


def _split(flat: Tensor, weights: Mapping[str, Tensor]) -> list[Tensor]:
    sizes = [weight.numel() for weight in weights.values()]
    parts = zip(flat.split(sizes), weights.values(), strict=True)
    return [part.view(weight.shape) for part, weight in parts]

import math
from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from sdd_core import LevelView, Pruner


class SynFlow(Pruner):
    """SynFlow, synaptic flow: the smallest |w dR/dw| at initialisation go, in many small steps.

    R is the sum of the outputs of the network with absolute weights, in evaluation mode, for an
    input of ones: no data is looked at. The score is an absolute value, as in the authors' code:
    w dR/dw is negative behind a layer normalisation, for example. Within one level the density
    falls exponentially to the one that is asked for, and the flow is computed anew after each
    step, which is what keeps whole layers from disappearing. Double precision, for a deep
    network's flow is very large or small. Meant to prune once, before any training.
    """

    name = "synflow"
    source = (
        "Tanaka et al., 2020, arXiv:2006.05467, eq. 1 and algorithm 1; "
        "github.com/ganguli-lab/Synaptic-Flow"
    )
    revision = 2

    steps: int = Field(default=100, ge=1, description="how often the flow is computed in a level")

    def scores(self, level: LevelView) -> Mapping[str, Tensor]:
        network = level.network("initialisation").double()
        _make_positive(network)
        weights = {name: p for name, p in network.named_parameters() if name in level.prunable}
        device = level.device
        ones = torch.ones(1, *level.data.input_shape, dtype=torch.float64, device=device)
        kept = torch.cat([level.masks[name].flatten() for name in weights]).to(device)
        start, end = kept.double().mean().item(), level.target_density or 0.0
        ratio = end / start if start else 0.0
        # Weights that went in an earlier step stay below all that went later.
        gone = torch.zeros(len(kept), dtype=torch.float64, device=device)

        def flow() -> Tensor:
            total = network(ones).sum()
            gradients = torch.autograd.grad(total, list(weights.values()), materialize_grads=True)
            pairs = zip(weights.values(), gradients, strict=True)
            return torch.cat([(weight * slope).detach().abs().flatten() for weight, slope in pairs])

        for step in range(1, self.steps):  # the last one is what the engine does with the scores
            # The authors round down what goes, so that something is always left.
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
    """Absolute values for the parameters and, as the authors do, for the statistics of batch
    normalisation; other buffers are no weights, and may be masks of -inf."""
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

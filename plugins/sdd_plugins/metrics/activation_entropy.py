from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from sdd_core import LevelView
from sdd_plugins.metrics.subset import OnSubset

ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.GELU, nn.SiLU, nn.ELU)


class ActivationEntropy(OnSubset):
    """How undecided the units are between on and off: the entropy of their activations' signs.

    A unit that is on (its input to the activation is above 0) for a share p of the examples has
    -p log2 p - (1 - p) log2 (1 - p) bits, 1 at most; 0 if it is always on or always off. The mean
    over units, of each layer and of all layers with an activation module. The channels of a
    convolution are its units, each place of an image being another example. In evaluation mode,
    on training images. None where there are no such layers, and for a level that diverged.
    """

    name = "activation_entropy"
    source = (
        "Quetu & Tartaglione, 2024, arXiv:2303.01213, sec. on entropy; "
        "Liao, Quetu et al., 2023, arXiv:2308.06619"
    )

    def measure(self, level: LevelView) -> Mapping[str, Any]:
        if level.diverged:
            return {"activation_entropy": None, "activation_entropy_by_layer": None}
        network = level.network()
        # Of the units of each layer: how often they were on, and how often they were looked at. A
        # module that is used at several places of the network is a layer at each of them.
        on: defaultdict[str, Tensor | float] = defaultdict(float)
        seen: defaultdict[str, int] = defaultdict(int)
        uses: defaultdict[str, int] = defaultdict(int)

        def look(name: str, inputs: Tensor) -> None:
            uses[name] += 1
            layer = name if uses[name] == 1 else f"{name}#{uses[name]}"
            units = inputs.unsqueeze(0) if inputs.dim() == 1 else inputs
            if inputs.dim() == 4:
                units = inputs.transpose(1, 3)  # channels last
            states = (units > 0).flatten(0, -2)
            on[layer] = on[layer] + states.sum(0).double().cpu()
            seen[layer] += len(states)

        for name, module in network.named_modules():
            if isinstance(module, ACTIVATIONS):
                module.register_forward_pre_hook(
                    lambda _, inputs, name=name: look(name, inputs[0])
                )
        with torch.no_grad():
            for inputs, _ in level.batches(self.batches, self.batch_size):
                uses.clear()
                network(inputs)
        units = {layer: _bits(torch.as_tensor(on[layer]) / seen[layer]) for layer in on}
        return {
            "activation_entropy": torch.cat(list(units.values())).mean().item() if units else None,
            "activation_entropy_by_layer": {n: bits.mean().item() for n, bits in units.items()}
            or None,
        }


def _bits(share: Tensor) -> Tensor:
    both = torch.stack([share, 1 - share])
    return torch.special.entr(both).sum(0) / torch.log(torch.tensor(2.0, dtype=torch.float64))

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from sdd_core import LevelView
from sdd_plugins.metrics.subset import OnSubset

ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.GELU, nn.SiLU, nn.ELU)


class ActivationEntropy(OnSubset):
    """The entropy of the signs of the units' activations: how often units switch on and off.

    A unit that is on (its input to the activation is above 0) for a fraction p of the examples has
    -p log2 p - (1 - p) log2 (1 - p) bits, 1 at most; 0 if it is always on or always off. The metric
    is the mean over units, for each layer and for all layers with an activation module. The units
    of a convolution are its channels, and each position of an image is a separate example. Measured
    in evaluation mode, on training images. None if there are no such layers, and for a level that
    diverged.
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
        # By layer: how often each unit was on, and the number of examples. A module that is used
        # several times in the network counts as a separate layer each time.
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

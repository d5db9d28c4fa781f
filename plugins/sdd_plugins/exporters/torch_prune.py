"""Weights and masks in the form of torch.nn.utils.prune."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.utils import prune

from sdd_core import Exportable, Exporter
from sdd_plugins.exporters.state_dict import write_tensors


class TorchPrune(Exporter):
    """The state of the network under `torch.nn.utils.prune`: `weight_orig` and `weight_mask`.

    A safetensors file for a module whose weights are masked with `prune.custom_from_mask`, so that
    training continues without the pruned weights. Every prunable weight is masked, under each of
    its names if it is tied. The header's entry `sdd` describes the level, in JSON.
    """

    name = "torch-prune"
    source = "https://docs.pytorch.org/tutorials/intermediate/pruning_tutorial.html"
    suffix = ".safetensors"
    tolerance = 0.0

    def write(self, source: Exportable, path: Path) -> Mapping[str, Any]:
        network = deepcopy(source.network)
        apply_masks(network, dict(_of_all_names(network, source.masks)))
        write_tensors(network.state_dict(), source.description, path)
        return {}

    def load(self, path: Path, source: Exportable) -> Callable[[Tensor], Tensor]:
        state, network = load_file(path), deepcopy(source.network)
        apply_masks(network, masks_in(state))
        network.load_state_dict(state)
        for module in network.modules():
            for hook in module._forward_pre_hooks.values():
                if isinstance(hook, prune.BasePruningMethod):
                    # Torch does so when the module is called; attention reads the weights of its
                    # last layer without calling it.
                    setattr(module, hook._tensor_name, hook.apply_mask(module))
        return network


def masks_in(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the masks in a state, by the names of their weights."""
    names = [name.removesuffix("_mask") for name in state if name.endswith("_mask")]
    return {name: state[f"{name}_mask"] for name in names if f"{name}_orig" in state}


def apply_masks(network: nn.Module, masks: Mapping[str, Tensor]) -> None:
    """Mask weights of a network with `torch.nn.utils.prune`."""
    for name, mask in masks.items():
        layer, _, weight = name.rpartition(".")
        prune.custom_from_mask(network.get_submodule(layer), weight, mask)


def _of_all_names(
    network: nn.Module, masks: Mapping[str, Tensor]
) -> Iterator[tuple[str, Tensor]]:
    """Yield the masks of weights under all names of each."""
    weights = dict(network.named_parameters())
    by_weight = {id(weights[name]): mask for name, mask in masks.items()}
    for name, weight in network.named_parameters(remove_duplicate=False):
        if id(weight) in by_weight:
            yield name, by_weight[id(weight)]

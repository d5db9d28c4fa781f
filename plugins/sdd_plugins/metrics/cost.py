import math
import zlib
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from sdd_core import LevelView, Metric

MEGABYTE = 1_000_000

EXAMPLES = 2
"""The number of examples with which multiply-adds are counted: some layers refuse a single one."""


class Cost(Metric):
    """The price of a level: multiply-adds for one example, parameters and bytes.

    dense_macs, kept_macs: the multiply-adds of matrix products and convolutions, for all weights
        and for kept weights. Biases, normalisations, activations, pooling and embeddings (look-ups)
        are not counted; products of two activations, as in attention, are kept whole. A convolution
        counts positions in the padding; a recurrent layer counts each step.
    parameters, kept_parameters: the numbers of all parameters, and without pruned ones.
    dense_bytes: the size of the state dict, parameters and buffers, without file headers.
    packed_bytes: the same as the store keeps it: kept values, and a bit for each prunable weight,
        which says whether it is kept.
    zipped_bytes: the dense state dict with its zeros, compressed by DEFLATE (as in gzip and zip
        files, zlib's default level). It may differ slightly between versions of zlib. None above
        `zip_up_to` megabytes, because compression takes a second for 15 to 30 MB.

    Shared parameters count once. Weights that a schedule holds at a value other than zero, or that
    an ablation trains again, are not saved and count as kept.
    """

    name = "cost"
    source = (
        "multiply-adds: torch.utils.flop_counter; of kept weights, as for the theoretical speed-up "
        "of Blalock et al., 2020, arXiv:2003.03033; zipped size as in the pruning guide of the "
        "TensorFlow Model Optimization Toolkit"
    )

    zip_up_to: float = Field(
        default=64.0, ge=0, allow_inf_nan=False,
        description="size of the state dict in megabytes up to which zipped_bytes is measured",
    )

    def measure(self, level: LevelView) -> Mapping[str, Any]:
        from sdd_plugins.metrics.macs import count_macs  # noqa: PLC0415 (slow to import)

        network = level.network()
        parameters = dict(network.named_parameters())
        masks = {name: mask.to(level.device) for name, mask in level.masks.items()}
        kept = {name: mask | (parameters[name] != 0) for name, mask in masks.items()}
        state = _distinct(network.state_dict(keep_vars=True).values())
        dense_bytes = sum(tensor.nbytes for tensor in state)
        zipped = _zipped(state) if dense_bytes <= self.zip_up_to * MEGABYTE else None
        bits = sum(math.ceil(mask.numel() / 8) for mask in masks.values())
        # The store keeps all values of a weight if some pruned ones are not zero.
        left_out = sum(
            int((~mask).sum()) * parameters[name].element_size()
            for name, mask in masks.items() if torch.equal(mask, kept[name])
        )
        size = sum(parameter.numel() for parameter in parameters.values())
        inputs, _ = level.batches(1, EXAMPLES)[0]
        macs = count_macs(_with_zeros_only_where_pruned(network, kept), inputs)
        return {
            "dense_macs": macs.dense,
            "kept_macs": macs.kept,
            "parameters": size,
            "kept_parameters": size - sum(int((~mask).sum()) for mask in kept.values()),
            "dense_bytes": dense_bytes,
            "packed_bytes": dense_bytes - left_out + bits,
            "zipped_bytes": zipped,
        }


def _distinct(tensors: Iterable[Any]) -> list[Tensor]:
    """Return the tensors, shared ones once."""
    return list({id(one): one for one in tensors if isinstance(one, Tensor)}.values())


def _zipped(tensors: Iterable[Tensor]) -> int:
    """Return the size of the tensors' numbers, compressed one after the other, in bytes."""
    deflate = zlib.compressobj()
    size = 0
    for tensor in tensors:
        numbers = tensor.detach().cpu().contiguous().flatten().view(torch.uint8)
        size += len(deflate.compress(numbers.numpy().data))
    return size + len(deflate.flush())


@torch.no_grad()
def _with_zeros_only_where_pruned(network: nn.Module, kept: Mapping[str, Tensor]) -> nn.Module:
    """Set the parameters that are kept but happen to be 0 to 1. Return the network."""
    for name, parameter in network.named_parameters():
        zero = parameter == 0
        parameter.masked_fill_(zero & kept[name] if name in kept else zero, 1)
    return network

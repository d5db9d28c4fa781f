"""Channels-last where it is faster and safe."""

from __future__ import annotations

import torch
from torch import nn

# Numbers in the widest vector register (AVX-512).
VECTOR = 16


def memory_format(network: nn.Module, device: torch.device) -> torch.memory_format:
    """Return the memory format of a network's convolutions: channels-last, which is faster, unless
    oneDNN would write outside its workspace.

    On the CPU, oneDNN's gradient of a strided 1x1 convolution in channels-last format writes past
    its workspace if there are fewer input channels than numbers in a vector register: heap
    corruption with one thread, wrong gradients or a deadlock with more (uxlfoundation/oneDNN issue
    6035, in torch 2.14.1). This was seen with AVX2, 2 to 7 channels, and not with AVX-512. The rule
    uses the wider vector on all processors, so that all compute the same. One such layer is enough:
    torch treats a convolution as channels-last if its input or its weight is.
    """
    if device.type != "cpu":
        return torch.channels_last
    harmless = {
        id(module.weight) for module in network.modules()
        if isinstance(module, nn.Conv2d) and set(module.stride) == {1}
    }
    # Weights of other layers may be used with a stride, because their forward is unknown.
    narrow = any(
        p.dim() == 4 and p.shape[2:] == (1, 1) and p.shape[1] < VECTOR and id(p) not in harmless
        for p in network.parameters()
    )
    return torch.contiguous_format if narrow else torch.channels_last

"""Which models the kernels train, and as what."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

from sdd_core.sparse.architecture import Architecture
from sdd_core.sparse.match.plain import is_plain
from sdd_core.sparse.match.reader import Reader

T = TypeVar("T")


def match(module: nn.Module, image_shape: Sequence[int]) -> Architecture | None:
    """Return the architecture of a model that the kernels train exactly, else None.

    Such a model takes a batch of images of `image_shape` (without the batch). It is a perceptron:
    it flattens them, and is Linear, ReLU, Linear, ..., Linear from there. Or it is a ResNet in the
    wide sense: convolutions (1x1 or 3x3, padded to keep the size, strides of 1 or 2, no bias),
    each followed by batch normalisation, residual sums, and ReLU after every normalisation or
    sum; then the mean over the pixels and one Linear layer with bias.

    It is recognised by tracing it (torch.fx), so it may be written in any way; whatever the trace
    shows besides (dropout, other layers, parameters, buffers, tied or frozen weights) means None,
    and so does what a trace cannot show (`plain.is_plain`, `plain.without_side_effects`). A
    forward method that reads other state of Python than `training`, and changes none, escapes it.
    """
    architecture = _same_in_both_modes(module, lambda: Reader(module, image_shape).read())
    if architecture is None:
        return None
    parameters = [module.get_parameter(name) for name in architecture.parameters]
    norms = [module.get_submodule(name) for name in architecture.modules]
    buffers = {id(buffer) for norm in norms for buffer in norm.buffers()}
    if {id(buffer) for buffer in module.buffers()} != buffers:
        return None
    return architecture if _is_trainable(module, parameters) else None


def _same_in_both_modes(module: nn.Module, read: Callable[[], T | None]) -> T | None:
    """What `read` finds, if it is the same in training and in evaluation and the module computes
    what its classes say."""
    if not is_plain(module):
        return None
    modes = [(part, part.training) for part in module.modules()]
    try:
        module.eval()
        in_evaluation = read()
        module.train()
        in_training = read()
    finally:
        for part, training in modes:
            part.training = training
    return in_training if in_training == in_evaluation else None


def _is_trainable(module: nn.Module, tensors: Sequence[Tensor]) -> bool:
    """Whether these are all the module's parameters, and such as the kernels can train."""
    own = {id(tensor) for tensor in module.parameters()}
    return (
        len(own) == len(tensors)
        and own == {id(tensor) for tensor in tensors}
        and tensors[0].dtype in (torch.float32, torch.float64)
        and all(
            tensor.requires_grad
            and tensor.dtype == tensors[0].dtype
            and tensor.device.type == "cpu"
            for tensor in tensors
        )
    )

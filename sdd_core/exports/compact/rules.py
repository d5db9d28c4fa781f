"""Which rule an operation has.

A rule gets a `Step` and returns what is known about the result, or None where it can't say: then
all inputs stay as they are, and so does the result. To support another operation, add its name or
its class here.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional

from sdd_core.exports.compact import elementwise as by_element
from sdd_core.exports.compact import layers, moves
from sdd_core.exports.compact.step import Step
from sdd_core.exports.compact.units import Value

Rule = Callable[[Step], Value | tuple[Value, ...] | None]

MODULES: dict[type[nn.Module], Rule] = {
    nn.Linear: layers.linear,
    **dict.fromkeys((nn.Conv1d, nn.Conv2d, nn.Conv3d), layers.convolution),
    **dict.fromkeys((nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d), layers.normalisation),
    nn.LayerNorm: layers.layer_norm,
    nn.PReLU: layers.slopes,
    **dict.fromkeys((nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout),
                    by_element.dropout),
    **dict.fromkeys((nn.Softmax, nn.LogSoftmax), by_element.softmax),
    **dict.fromkeys((nn.Identity, nn.Flatten, nn.Unflatten), moves.move),
}  # fmt: skip
MODULES |= dict.fromkeys(
    (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish,
     nn.Sigmoid, nn.LogSigmoid, nn.Tanh, nn.Hardtanh, nn.Hardsigmoid, nn.Hardswish, nn.Hardshrink,
     nn.Softplus, nn.Softsign, nn.Softshrink, nn.Tanhshrink, nn.Threshold),
    by_element.elementwise,
)  # fmt: skip
MODULES |= {
    getattr(nn, f"{kind}{rank}d"): by_element.channelwise
    for kind in ("MaxPool", "AvgPool", "AdaptiveMaxPool", "AdaptiveAvgPool", "ZeroPad",
                 "ReflectionPad", "ReplicationPad", "CircularPad", "ConstantPad")
    for rank in (1, 2, 3)
} | dict.fromkeys((nn.Upsample, nn.UpsamplingNearest2d, nn.UpsamplingBilinear2d),
                  by_element.channelwise)  # fmt: skip

# Functions of torch, torch.nn.functional and operator, and methods of tensors.
_NAMES: list[tuple[str, Rule]] = [
    (
        "relu relu_ relu6 leaky_relu leaky_relu_ elu elu_ celu selu gelu silu mish sigmoid "
        "sigmoid_ logsigmoid tanh tanh_ hardtanh hardsigmoid hardswish softplus softsign "
        "clamp clamp_ clip clamp_min clamp_max exp log sqrt rsqrt abs neg square erf sin cos "
        "add add_ iadd sub sub_ isub div div_ truediv itruediv true_divide pow maximum minimum "
        "float double to",
        by_element.elementwise,
    ),
    ("mul mul_ imul multiply", by_element.product),
    ("dropout dropout1d dropout2d dropout3d alpha_dropout feature_dropout", by_element.dropout),
    ("mean sum amax amin", by_element.reduction),
    ("softmax log_softmax", by_element.softmax),
    ("matmul bmm", by_element.contraction),
    ("scaled_dot_product_attention", by_element.attention),
    (
        "max_pool1d max_pool2d max_pool3d avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d "
        "adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d "
        "adaptive_max_pool3d interpolate",
        by_element.channelwise,
    ),
    (
        "flatten view reshape unflatten expand permute transpose swapaxes movedim contiguous "
        "unsqueeze cat concat concatenate stack t detach clone",
        moves.move,
    ),
    ("chunk", moves.move_along(2, 0)),
    ("split", moves.move_along(2, 0)),
    ("narrow select", moves.move_along(1)),
    ("squeeze", moves.move_along(1)),
    ("unbind", moves.move_along(1, 0)),
    ("getitem", moves.item),
    ("pad", moves.pad),
]

METHODS: dict[str, Rule] = {name: rule for names, rule in _NAMES for name in names.split()}
FUNCTIONS: dict[Any, Rule] = {
    getattr(home, name): rule
    for name, rule in METHODS.items()
    for home in (torch, functional, operator)
    if hasattr(home, name)
}
# What is asked about a tensor without its elements.
_SIZES = {"shape", "size", "dim", "ndim", "dtype", "device", "is_floating_point"}


def find_rule(node: fx.Node, layer: nn.Module | None) -> Rule | None:
    """Return the rule of an operation, or None. layer: the module that it calls, if it does."""
    if layer is not None:
        return MODULES.get(type(layer))
    if node.op == "call_method":
        return METHODS.get(str(node.target))
    return FUNCTIONS.get(node.target)


def asks_for_sizes(node: fx.Node) -> bool:
    """Whether this is a size of a tensor, or another question that does not read its elements."""
    return node.target in _SIZES or (node.target is getattr and node.args[1] in _SIZES)


def is_batch_size(node: fx.Node) -> bool:
    """Whether this is the size of the first axis, x.shape[0] or x.size(0)."""
    if node.target == "size":
        return (*node.args[1:], *node.kwargs.values()) == (0,)
    args: Any = node.args
    return node.target is operator.getitem and asks_for_sizes(args[0]) and args[1] == 0

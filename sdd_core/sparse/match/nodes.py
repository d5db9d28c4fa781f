"""What single operations of a trace do."""

from __future__ import annotations

import operator

import torch
from torch import fx, nn
from torch.nn import functional


def is_relu(node: fx.Node, part: nn.Module | None) -> bool:
    """Whether this is ReLU. part: the module that the node calls."""
    if node.op == "call_function":
        return node.target in (torch.relu, torch.relu_, functional.relu)
    if node.op == "call_method":
        return node.target in ("relu", "relu_")
    return type(part) is nn.ReLU


def is_sum(node: fx.Node) -> bool:
    """Whether this adds two values and nothing else."""
    added = node.target in (operator.add, operator.iadd, torch.add)
    return added and len(node.args) == 2 and not node.kwargs


def is_batch_size(node: fx.Node, images: fx.Node) -> bool:
    """Whether this is x.size(0), x.shape or x.shape[0]; it has no effect but through
    `flattens_images`."""
    if node.op == "call_method" and node.target == "size":
        return node.args == (images, 0) and not node.kwargs
    if node.op != "call_function":
        return False
    if node.target is getattr:
        return node.args == (images, "shape")
    if node.target is not operator.getitem or not isinstance(node.args[0], fx.Node):
        return False
    return node.args[0].args == (images, "shape") and node.args[1:] == (0,)


def is_flatten(node: fx.Node, part: nn.Module | None) -> bool:
    """Whether this flattens everything but the batch."""
    if type(part) is nn.Flatten:
        return (part.start_dim, part.end_dim) == (1, -1)
    if node.target is torch.flatten or (node.op == "call_method" and node.target == "flatten"):
        options = (node.args[1:], node.kwargs)
        return options in (((1,), {}), ((), {"start_dim": 1}), ((1, -1), {}))
    return False


def flattens_images(
    node: fx.Node, part: nn.Module | None, images: fx.Node, features: int
) -> bool:
    """The same of the images, also by `view` and `reshape`."""
    if node.args[:1] != (images,):
        return False
    if is_flatten(node, part):
        return True
    is_method = node.op == "call_method" and node.target in ("view", "reshape")
    if node.kwargs or not (is_method or node.target is torch.reshape):
        return False
    arguments = node.args[1:]
    shape = arguments[0] if len(arguments) == 1 else arguments
    if not isinstance(shape, tuple | list) or len(shape) != 2:
        return False
    rows, columns = shape
    if isinstance(rows, fx.Node):
        return is_batch_size(rows, images) and columns in (-1, features)
    return (rows, columns) == (-1, features)


def is_mean_of_pixels(node: fx.Node, part: nn.Module | None, size: int) -> bool:
    """Whether this takes the mean over all pixels of maps of this width."""
    if type(part) is nn.AdaptiveAvgPool2d:
        return part.output_size in (1, (1, 1))
    if type(part) is nn.AvgPool2d:
        whole = part.kernel_size in (size, (size, size)) and part.padding in (0, (0, 0))
        return whole and part.divisor_override is None
    options = (node.args[1:], node.kwargs)
    if node.target is functional.adaptive_avg_pool2d:
        return options in (((1,), {}), (((1, 1),), {}))
    if node.target is functional.avg_pool2d:
        return options == ((size,), {})
    if node.target is torch.mean or (node.op == "call_method" and node.target == "mean"):
        axes = node.args[1] if len(node.args) == 2 else node.kwargs.get("dim")
        return axes in ((2, 3), [2, 3], (-2, -1), [-2, -1]) and not set(node.kwargs) - {"dim"}
    return False


def is_known_convolution(part: nn.Conv2d, channels: int, size: int) -> bool:
    """Whether the kernels know a convolution that reads maps of so many channels and this
    width."""
    kernel, stride = part.kernel_size[0], part.stride[0]
    return (
        part.kernel_size == (kernel, kernel)
        and kernel in (1, 3)
        and part.stride == (stride, stride)
        and stride in (1, 2)
        and part.padding == (kernel // 2, kernel // 2)
        and part.padding_mode == "zeros"
        and part.dilation == (1, 1)
        and part.groups == 1
        and part.bias is None
        and part.in_channels == channels
        and size % (4 * stride) == 0
    )

"""From torch modules to sparse networks and back."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, TypeVar

import torch
from torch import Tensor, fx, nn

from sdd_core.errors import SddError
from sdd_core.sparse.mlp import SparseMLP
from sdd_core.sparse.plain import is_plain, without_side_effects

T = TypeVar("T")


def supports(module: nn.Module, image_shape: Sequence[int]) -> list[str] | None:
    """The names of the Linear layers of a model that `SparseMLP` trains exactly, first to last,
    else None.

    Such a model takes a batch of images of `image_shape` (without the batch), flattens them, and
    is Linear, ReLU, Linear, ..., Linear from there, in training and in evaluation. It is
    recognised by tracing it (torch.fx), so it may be written in any way; whatever the trace shows
    besides (dropout, other layers, parameters, buffers, tied or frozen weights) means None, and so
    does what a trace cannot show (`plain.is_plain`, `plain.without_side_effects`). A forward method
    that reads other state of Python than `training`, and changes none, escapes it.
    """
    names = same_in_both_modes(module, lambda: _chain(module, image_shape))
    if names is None or any(True for _ in module.buffers()):
        return None
    tensors = [tensor for name in names for tensor in module.get_submodule(name).parameters()]
    return names if is_trainable(module, tensors) else None


def same_in_both_modes(module: nn.Module, read: Callable[[], T | None]) -> T | None:
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


def is_trainable(module: nn.Module, tensors: Sequence[Tensor]) -> bool:
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


def load(
    linears: Sequence[nn.Linear],
    masks: Sequence[Tensor | None],
    *,
    momentum: float,
    weight_decay: float,
    momenta: Mapping[Tensor, Tensor] | None = None,
    kernels: Sequence[str] | None = None,
    threads: int = 1,
) -> SparseMLP:
    """A sparse network with copies of the layers' parameters.

    Args:
        masks: for each layer bool [outputs, inputs], or None to keep all.
        momenta: SGD's momentum buffer of each parameter (None: no step taken yet).
        momentum, weight_decay, kernels, threads: as in `SparseMLP`.
    """

    def arrays(of: Mapping[Tensor, Tensor] | None, name: str) -> list:
        tensors = [getattr(linear, name) for linear in linears]
        return [
            None if tensor is None else (tensor if of is None else of[tensor]).detach().numpy()
            for tensor in tensors
        ]

    return SparseMLP(
        arrays(None, "weight"),
        arrays(None, "bias"),
        [
            torch.ones_like(linear.weight, dtype=torch.bool).numpy()
            if mask is None
            else mask.bool().numpy()
            for linear, mask in zip(linears, masks, strict=True)
        ],
        momentum=momentum,
        weight_decay=weight_decay,
        weight_momenta=None if momenta is None else arrays(momenta, "weight"),
        bias_momenta=None if momenta is None else arrays(momenta, "bias"),
        kernels=kernels,
        threads=threads,
    )


@torch.no_grad()
def save(network: SparseMLP, linears: Sequence[nn.Linear]) -> dict[Tensor, Tensor]:
    """Copy the network's parameters into the layers; return the momentum buffer of each."""
    momenta: dict[Tensor, Tensor] = {}
    for linear, weight, bias, weight_momentum, bias_momentum in zip(
        linears,
        network.weights(),
        network.biases(),
        network.weight_momenta(),
        network.bias_momenta(),
        strict=True,
    ):
        linear.weight.copy_(torch.from_numpy(weight))
        momenta[linear.weight] = torch.from_numpy(weight_momentum)
        if bias is not None and bias_momentum is not None:
            linear.bias.copy_(torch.from_numpy(bias))
            momenta[linear.bias] = torch.from_numpy(bias_momentum)
    return momenta


class _Tracer(fx.Tracer):
    """Refuses what a trace does not show: operations without gradients, or under autocast."""

    def create_node(self, *args: Any, **kwargs: Any) -> fx.Node:
        if not torch.is_grad_enabled() or torch.is_autocast_enabled("cpu"):
            raise SddError("the kernels train all of a model, in its own number type")
        return super().create_node(*args, **kwargs)


@torch.enable_grad()
def trace(module: nn.Module) -> list[fx.Node]:
    """The operations of a model's forward method. Raises what the model's own code raises when
    met by a proxy."""
    # Wrapping `math` takes half the time, and no model that the kernels know has any use for it.
    tracer = _Tracer(autowrap_modules=())  # type: ignore[arg-type]  # the hint says just one
    try:
        with without_side_effects(module):
            return list(tracer.trace(module).nodes)
    finally:
        # A tracer lives in a cycle; the model, which may be large, must not wait there for
        # garbage collection.
        tracer.root = nn.Module()
        tracer.submodule_paths = None


def _chain(module: nn.Module, image_shape: Sequence[int]) -> list[str] | None:
    try:
        nodes = trace(module)
    except Exception:  # the tracer raises what the model's own code raises when met by a proxy
        return None
    images = nodes[0]
    nodes = [node for node in nodes if not _is_batch_size(node, images)]
    in_line = all(node.args[:1] == (before,) for before, node in pairwise(nodes))
    if images.op != "placeholder" or not in_line:
        return None
    features = math.prod(image_shape)
    nodes = nodes[1:-1]
    steps = [_step(module, node, images, features) for node in nodes]
    if steps[:1] == ["flatten"]:
        nodes, steps = nodes[1:], steps[1:]
    elif len(image_shape) != 1:
        return None
    linears = [step for step in steps[::2] if isinstance(step, nn.Linear)]
    if 2 * len(linears) - 1 != len(steps) or set(steps[1::2]) - {"relu"}:
        return None
    widths = [features, *(linear.out_features for linear in linears)]
    fits = [linear.in_features for linear in linears] == widths[:-1]
    names = [str(node.target) for node in nodes[::2]]
    return names if fits and len(set(names)) == len(names) else None


def _step(
    module: nn.Module, node: fx.Node, images: fx.Node, features: int
) -> nn.Linear | str | None:
    part = module.get_submodule(str(node.target)) if node.op == "call_module" else None
    if type(part) is nn.Linear and len(node.args) == 1:
        return part
    if is_relu(node, part):
        return "relu"
    if node.args[0] is images and _flattens(node, part, images, features):
        return "flatten"
    return None


def is_relu(node: fx.Node, part: nn.Module | None) -> bool:
    if node.op == "call_function":
        return node.target in (torch.relu, torch.relu_, nn.functional.relu)
    if node.op == "call_method":
        return node.target in ("relu", "relu_")
    return type(part) is nn.ReLU


def _is_batch_size(node: fx.Node, images: fx.Node) -> bool:
    """x.size(0), x.shape or x.shape[0]; they have no effect but through `_flattens`."""
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
    """Flatten everything but the batch."""
    if type(part) is nn.Flatten:
        return (part.start_dim, part.end_dim) == (1, -1)
    if node.target is torch.flatten or (node.op == "call_method" and node.target == "flatten"):
        options = (node.args[1:], node.kwargs)
        return options in (((1,), {}), ((), {"start_dim": 1}), ((1, -1), {}))
    return False


def _flattens(node: fx.Node, part: nn.Module | None, images: fx.Node, features: int) -> bool:
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
        return _is_batch_size(rows, images) and columns in (-1, features)
    return (rows, columns) == (-1, features)

"""From convolutional torch modules to sparse networks and back."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from sdd_core.sparse.convnet import SparseConvNet
from sdd_core.sparse.convplan import Convolution, Normalisation, NormState
from sdd_core.sparse.module import (
    is_flatten,
    is_relu,
    is_trainable,
    same_in_both_modes,
    trace,
)


@dataclass
class ConvPlan:
    """What `SparseConvNet` needs to know of a model: its parts, by name and in its order."""

    operations: list[Convolution | Normalisation] = field(default_factory=list)
    sizes: list[tuple[int, int]] = field(default_factory=list)
    convolutions: list[str] = field(default_factory=list)
    norms: list[str] = field(default_factory=list)
    linear: str = ""

    def parameters(self, model: nn.Module) -> list[Tensor]:
        """Those of a model, in the order of `SparseConvNet`."""
        weights = [f"{name}.weight" for name in self.convolutions]
        affine = [f"{name}.{part}" for name in (*self.norms, self.linear)
                  for part in ("weight", "bias")]  # fmt: skip
        return [model.get_parameter(name) for name in (*weights, *affine)]

    def normalisations(self, model: nn.Module) -> list[nn.BatchNorm2d]:
        """Those of a model."""
        return [cast(nn.BatchNorm2d, model.get_submodule(name)) for name in self.norms]

    def pixels(self) -> list[int]:
        """How many pixels the result of each convolution has."""
        made = [part.target for part in self.operations if isinstance(part, Convolution)]
        return [self.sizes[target][1] ** 2 for target in made]


def supports_convolution(module: nn.Module, image_shape: Sequence[int]) -> ConvPlan | None:
    """The plan of a model that `SparseConvNet` trains exactly, else None.

    Such a model is a ResNet in the wide sense: convolutions (1x1 or 3x3, padded to keep the size,
    strides of 1 or 2, no bias), each followed by batch normalisation, residual sums, and ReLU
    after every normalisation or sum; then the mean over the pixels and one Linear layer. It is
    recognised by tracing, with the same caution as in `supports`.
    """
    if len(image_shape) != 3 or image_shape[1] != image_shape[2] or image_shape[1] % 4:
        return None
    plan = same_in_both_modes(module, lambda: _Reader(module, image_shape).read())
    if plan is None or not is_trainable(module, plan.parameters(module)):
        return None
    buffers = {id(buffer) for norm in plan.normalisations(module) for buffer in norm.buffers()}
    return plan if {id(buffer) for buffer in module.buffers()} == buffers else None


def load_convolution(
    plan: ConvPlan,
    model: nn.Module,
    masks: Mapping[Tensor, Tensor],
    *,
    momentum: float,
    weight_decay: float,
    momenta: Mapping[Tensor, Tensor] | None = None,
    threads: int = 1,
) -> SparseConvNet:
    """A sparse network with copies of the model's parameters and statistics.

    Args:
        masks: for parameters of the model, which entries are kept; all where there is none.
        momenta: SGD's momentum buffer of each parameter (None: no step taken yet).
    """
    parameters = plan.parameters(model)
    return SparseConvNet(
        plan.operations,
        plan.sizes,
        [parameter.detach().numpy() for parameter in parameters],
        [masks[p].bool().numpy() if p in masks else None for p in parameters],
        [
            NormState(
                _statistics(norm.running_mean),
                _statistics(norm.running_var),
                cast(float, norm.momentum),
                norm.eps,
            )
            for norm in plan.normalisations(model)
        ],
        momentum=momentum,
        weight_decay=weight_decay,
        momenta=None if momenta is None else [momenta[p].numpy() for p in parameters],
        threads=threads,
    )


@torch.no_grad()
def save_convolution(
    network: SparseConvNet, plan: ConvPlan, model: nn.Module
) -> dict[Tensor, Tensor]:
    """Copy parameters and statistics into the model; return each parameter's momentum buffer."""
    momenta: dict[Tensor, Tensor] = {}
    for parameter, value, buffer in zip(
        plan.parameters(model), network.parameters(), network.momenta(), strict=True
    ):
        parameter.copy_(torch.from_numpy(value))
        momenta[parameter] = torch.from_numpy(buffer)
    norms = plan.normalisations(model)
    for norm, (mean, variance) in zip(norms, network.statistics(), strict=True):
        assert norm.running_mean is not None
        assert norm.running_var is not None
        assert norm.num_batches_tracked is not None
        norm.running_mean.copy_(torch.from_numpy(mean))
        norm.running_var.copy_(torch.from_numpy(variance))
        norm.num_batches_tracked += network.steps
    network.steps = 0
    return momenta


def _statistics(buffer: Tensor | None):
    assert buffer is not None
    return buffer.detach().numpy().copy()


class _Reader:
    """Reads a traced model into a plan.

    Each node stands for a map (its number), or for something on the way to the next one:
    ("conv", map), ("norm", map, norm), ("sum", map, norm, other map, other norm or None),
    ("pooled",), ("flat",), ("logits",).
    """

    def __init__(self, module: nn.Module, image_shape: Sequence[int]) -> None:
        self._module = module
        self._plan = ConvPlan(sizes=[(image_shape[0], image_shape[1])])
        self._values: dict[fx.Node, int | tuple] = {}

    def read(self) -> ConvPlan | None:
        try:
            nodes = trace(self._module)
        except Exception:  # the tracer raises what the model's own code raises when met by a proxy
            return None
        for node in nodes[:-1]:
            value = 0 if node is nodes[0] and node.op == "placeholder" else self._value(node)
            if value is None or not node.users:
                return None
            if not isinstance(value, int) and len(node.users) > 1:
                return None
            self._values[node] = value
        result = nodes[-1].args[0]
        finished = isinstance(result, fx.Node) and self._values.get(result) == ("logits",)
        return self._plan if finished and self._in_order() else None

    def _value(self, node: fx.Node) -> int | tuple | None:
        inputs = [self._values.get(argument) for argument in node.all_input_nodes]
        if not inputs or None in inputs or not isinstance(next(iter(node.args), None), fx.Node):
            return None
        name = str(node.target) if node.op == "call_module" else ""
        part = self._module.get_submodule(name) if name else None
        if len(inputs) == 2:
            return self._sum(node, *inputs)
        value = inputs[0]
        assert value is not None
        if isinstance(value, int):
            if type(part) is nn.Conv2d:
                return self._convolution(name, part, value)
            pooled = value > 0 and _pools(node, part, self._plan.sizes[value][1])
            return ("pooled", value) if pooled else None
        kind, *rest = value
        if kind == "conv" and type(part) is nn.BatchNorm2d:
            value = self._norm(name, part, *rest)
        elif kind in ("norm", "sum") and is_relu(node, part):
            value = self._map(*rest)
        elif kind in ("pooled", "flat") and type(part) is nn.Linear:
            value = self._head(name, part, *rest)
        elif kind == "pooled" and is_flatten(node, part):
            value = ("flat", *rest)
        else:
            value = None
        return value

    def _map(self, source: int, *rest: Any) -> int:
        self._plan.sizes.append(self._plan.sizes[source])
        target = len(self._plan.sizes) - 1
        self._plan.operations.append(Normalisation(target, source, *rest))
        return target

    def _convolution(self, name: str, part: nn.Conv2d, source: int) -> tuple | None:
        channels, size = self._plan.sizes[source]
        kernel, stride = part.kernel_size[0], part.stride[0]
        plain = (
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
        )
        if not plain or name in self._plan.convolutions or size % (4 * stride):
            return None
        self._plan.sizes.append((part.out_channels, size // stride))
        target = len(self._plan.sizes) - 1
        layer = len(self._plan.convolutions)
        self._plan.operations.append(Convolution(source, target, layer, stride))
        self._plan.convolutions.append(name)
        return "conv", target

    def _norm(self, name: str, part: nn.BatchNorm2d, source: int) -> tuple | None:
        complete = part.affine and part.track_running_stats and part.momentum is not None
        if not complete or name in self._plan.norms:
            return None
        if part.training != self._module.training:  # a `train` of the model's own holds it
            return None
        if part.num_features != self._plan.sizes[source][0]:
            return None
        self._plan.norms.append(name)
        return "norm", source, len(self._plan.norms) - 1

    def _sum(self, node: fx.Node, one: int | tuple | None, other: int | tuple | None):
        if (
            node.kwargs
            or len(node.args) != 2
            or node.target
            not in (
                operator.add,
                operator.iadd,
                torch.add,
            )
        ):
            return None
        if isinstance(one, int):
            one, other = other, one
        if not isinstance(one, tuple) or one[0] != "norm" or other is None or other == 0:
            return None
        if isinstance(other, tuple) and other[0] != "norm":
            return None
        rest = (other, None) if isinstance(other, int) else other[1:]
        same = self._plan.sizes[one[1]] == self._plan.sizes[rest[0]]
        return ("sum", *one[1:], *rest) if same else None

    def _head(self, name: str, part: nn.Linear, source: int) -> tuple | None:
        if part.bias is None or part.in_features != self._plan.sizes[source][0]:
            return None
        if source != self._plan.operations[-1].target:
            return None
        self._plan.linear = name
        return ("logits",)

    def _in_order(self) -> bool:
        """Whether gradients can be handed back as `SparseConvNet` does it.

        A residual sum hands its gradient on, ungated, before the convolutions that share its
        source add theirs and gate it.
        """
        read: set[int] = set()
        summed: set[int] = set()
        for operation in self._plan.operations:
            if isinstance(operation, Convolution):
                read.add(operation.source)
                if operation.source in summed:
                    return False
            elif operation.other is not None and operation.other_norm is None:
                if operation.other in summed or operation.other not in read:
                    return False
                summed.add(operation.other)
        last = self._plan.operations[-1].target
        return last not in read and last not in summed


def _pools(node: fx.Node, part: nn.Module | None, size: int) -> bool:
    """Whether this takes the mean over all pixels."""
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

"""Reads a traced model into an architecture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch import fx, nn

from sdd_core.sparse.architecture import (
    Architecture,
    Convolution,
    Linear,
    Normalisation,
    NormConstants,
)
from sdd_core.sparse.match.nodes import (
    flattens_images,
    is_batch_size,
    is_flatten,
    is_known_convolution,
    is_mean_of_pixels,
    is_relu,
    is_sum,
)
from sdd_core.sparse.match.trace import trace

# What a node computes: a map (its number), or something on the way to the next one:
# ("conv", map), ("norm", map, norm), ("sum", map, norm, other map, other norm or None),
# ("pooled", map), ("features", how many), ("linear", outputs), ("batch size",).
Value = int | tuple


class Reader:
    """Goes through the operations of a model once, and says what each one computes.

    Everything but maps may be read by one operation only, and nothing may be left unread.
    """

    def __init__(self, module: nn.Module, image_shape: Sequence[int]) -> None:
        self._module = module
        self._features = math.prod(image_shape)
        square = len(image_shape) == 3 and image_shape[1] == image_shape[2]
        self._maps = square and image_shape[1] % 4 == 0  # whether convolutions take such images
        self._flat = len(image_shape) == 1
        self._sizes = [(image_shape[0], image_shape[1])] if self._maps else []
        self._operations: list[Convolution | Normalisation] = []
        self._constants: list[NormConstants] = []
        self._linears: list[Linear] = []
        self._convolution_names: list[str] = []
        self._norm_names: list[str] = []
        self._linear_names: list[str] = []
        self._values: dict[fx.Node, Value] = {}

    def read(self) -> Architecture | None:
        """Return the architecture, or None where the kernels do not know one of the operations."""
        try:
            nodes = trace(self._module)
        except Exception:  # the tracer raises what the model's own code raises when met by a proxy
            return None
        images, result = nodes[0], nodes[-1].args[0]
        if images.op != "placeholder":
            return None
        self._values[images] = 0
        for node in nodes[1:-1]:
            if is_batch_size(node, images):
                self._values[node] = ("batch size",)
                continue
            value = self._value(node, images)
            if value is None or not self._may_be_read(node, value):
                return None
            self._values[node] = value
        value = self._values.get(result) if isinstance(result, fx.Node) else None
        finished = isinstance(value, tuple) and value[0] == "linear"
        return self._architecture() if finished and self._in_order() else None

    def _architecture(self) -> Architecture:
        parts = ("weight", "bias")
        names = [f"{name}.weight" for name in self._convolution_names]
        names += [f"{name}.{part}" for name in self._norm_names for part in parts]
        for name, linear in zip(self._linear_names, self._linears, strict=True):
            names += [f"{name}.{part}" for part in parts[: 1 + linear.biased]]
        return Architecture(
            tuple(self._linears), tuple(self._operations),
            tuple(self._sizes) if self._operations else (), tuple(self._constants),
            tuple(names), tuple(self._norm_names),
        )  # fmt: skip

    @staticmethod
    def _may_be_read(node: fx.Node, value: Value) -> bool:
        return bool(node.users) and (isinstance(value, int) or len(node.users) == 1)

    def _value(self, node: fx.Node, images: fx.Node) -> Value | None:
        """What a node computes, None where that is not known."""
        name = str(node.target) if node.op == "call_module" else ""
        part = self._module.get_submodule(name) if name else None
        if flattens_images(node, part, images, self._features):
            return "features", self._features
        inputs = [self._values.get(argument) for argument in node.all_input_nodes]
        if not inputs or None in inputs or not isinstance(next(iter(node.args), None), fx.Node):
            return None
        if len(inputs) == 2:
            return self._sum(node, *inputs)
        value = inputs[0]
        assert value is not None
        if isinstance(value, int):
            return self._of_map(node, name, part, value)
        kind, *rest = value
        if kind == "conv" and type(part) is nn.BatchNorm2d:
            value = self._norm(name, part, *rest)
        elif kind in ("norm", "sum") and is_relu(node, part):
            value = self._map(*rest)
        elif kind == "pooled" and type(part) is nn.Linear:
            value = self._head(name, part, *rest)
        elif kind == "features" and type(part) is nn.Linear:
            value = self._linear(name, part, *rest)
        elif kind == "pooled" and is_flatten(node, part):
            value = ("pooled", *rest)
        elif kind == "linear" and not self._operations and is_relu(node, part):
            value = ("features", *rest)
        else:
            value = None
        return value

    def _of_map(
        self, node: fx.Node, name: str, part: nn.Module | None, number: int
    ) -> Value | None:
        if type(part) is nn.Conv2d:
            return self._convolution(name, part, number)
        if type(part) is nn.Linear and number == 0 and self._flat:
            return self._linear(name, part, self._features)
        if number > 0 and is_mean_of_pixels(node, part, self._sizes[number][1]):
            return "pooled", number
        return None

    def _map(self, source: int, *rest: Any) -> int:
        self._sizes.append(self._sizes[source])
        target = len(self._sizes) - 1
        self._operations.append(Normalisation(target, source, *rest))
        return target

    def _convolution(self, name: str, part: nn.Conv2d, source: int) -> Value | None:
        if not self._maps or name in self._convolution_names:
            return None
        channels, size = self._sizes[source]
        if not is_known_convolution(part, channels, size):
            return None
        kernel, stride, layer = part.kernel_size[0], part.stride[0], len(self._convolution_names)
        self._sizes.append((part.out_channels, size // stride))
        target = len(self._sizes) - 1
        self._operations.append(Convolution(source, target, layer, kernel, stride))
        self._convolution_names.append(name)
        return "conv", target

    def _norm(self, name: str, part: nn.BatchNorm2d, source: int) -> Value | None:
        if not part.affine or not part.track_running_stats or part.momentum is None:
            return None
        if part.training != self._module.training:  # a `train` of the model's own holds it
            return None
        if name in self._norm_names or part.num_features != self._sizes[source][0]:
            return None
        self._norm_names.append(name)
        self._constants.append(NormConstants(part.momentum, part.eps))
        return "norm", source, len(self._norm_names) - 1

    def _sum(self, node: fx.Node, one: Value | None, other: Value | None) -> Value | None:
        if not is_sum(node):
            return None
        if isinstance(one, int):
            one, other = other, one
        if not isinstance(one, tuple) or one[0] != "norm" or other is None or other == 0:
            return None
        if isinstance(other, tuple) and other[0] != "norm":
            return None
        rest = (other, None) if isinstance(other, int) else other[1:]
        same = self._sizes[one[1]] == self._sizes[rest[0]]
        return ("sum", *one[1:], *rest) if same else None

    def _head(self, name: str, part: nn.Linear, source: int) -> Value | None:
        if part.bias is None or source != self._operations[-1].target:
            return None
        return self._linear(name, part, self._sizes[source][0])

    def _linear(self, name: str, part: nn.Linear, inputs: int) -> Value | None:
        if name in self._linear_names or part.in_features != inputs:
            return None
        self._linears.append(Linear(inputs, part.out_features, part.bias is not None))
        self._linear_names.append(name)
        return "linear", part.out_features

    def _in_order(self) -> bool:
        """Whether gradients can be handed back as the kernels do it.

        A residual sum hands its gradient on, ungated, before the convolutions that share its
        source add theirs and gate it.
        """
        if not self._operations:
            return True
        read: set[int] = set()
        summed: set[int] = set()
        for operation in self._operations:
            if isinstance(operation, Convolution):
                read.add(operation.source)
                if operation.source in summed:
                    return False
            elif operation.other is not None and operation.other_norm is None:
                if operation.other in summed or operation.other not in read:
                    return False
                summed.add(operation.other)
        last = self._operations[-1].target
        return last not in read and last not in summed

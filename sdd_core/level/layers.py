"""The weights of a network's layers: which are prunable, their layout, and their names.

A weight is a matrix or a kernel: a floating-point parameter with two or more dimensions. If a layer
computes its weight from other tensors (`torch.nn.utils.parametrize`, weight and spectral norm), the
trained tensor represents it. The scale of a weight norm is not a weight.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from typing import Literal, NamedTuple

from torch import Tensor, nn
from torch.nn.utils.parametrizations import _WeightNorm
from torch.nn.utils.parametrize import ParametrizationList, is_parametrized

from sdd_core.errors import SddError
from sdd_core.level.naming import matches

_PROJECTIONS = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")
PRUNABLE: dict[type[nn.Module], tuple[str, ...]] = {
    nn.Linear: ("weight",),
    nn.Bilinear: ("weight",),
    nn.Conv1d: ("weight",),
    nn.Conv2d: ("weight",),
    nn.Conv3d: ("weight",),
    nn.ConvTranspose1d: ("weight",),
    nn.ConvTranspose2d: ("weight",),
    nn.ConvTranspose3d: ("weight",),
    nn.MultiheadAttention: _PROJECTIONS,  # its output projection is a Linear
    nn.RNNBase: ("weight_*",),  # RNN, LSTM, GRU
    nn.RNNCellBase: ("weight_*",),
}
"""The layers whose weights can be pruned, with the attribute names of the weights (fnmatch)."""

_TRANSPOSED = (
    nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d, nn.Embedding, nn.EmbeddingBag,
)
_EMBEDDINGS = (nn.Embedding, nn.EmbeddingBag)

Side = Literal["output", "input"]


class Layout(NamedTuple):
    """The dimensions of a layer's outputs and inputs in its weight.

    transposed: `[inputs, outputs, ...]`, as in ConvTranspose2d and Embedding, instead of
        `[outputs, inputs, ...]`, as in Linear and Conv2d.
    groups: the groups of a convolution. The second dimension of its weight is the number of
        channels within one group.
    """

    transposed: bool = False
    groups: int = 1

    def lines(self, tensor: Tensor, side: Side) -> Tensor:
        """Return the numbers of a weight by output or input, `[outputs or inputs, of each]`."""
        if (side == "output") != self.transposed:
            return tensor.flatten(1)
        first, second = tensor.shape[:2]
        grouped = tensor.reshape(self.groups, first // self.groups, second, -1)
        # Contiguous, because sorting the lines is then several times faster.
        return grouped.transpose(1, 2).reshape(self.groups * second, -1).contiguous()

    def from_lines(self, lines: Tensor, side: Side, shape: tuple[int, ...]) -> Tensor:
        """Return the weight of this shape from its `lines`."""
        if (side == "output") != self.transposed:
            return lines.reshape(shape)
        first, second = shape[:2]
        grouped = lines.reshape(self.groups, second, first // self.groups, -1)
        return grouped.transpose(1, 2).reshape(shape)


class Weight(NamedTuple):
    """A weight of a network.

    known: True if it belongs to a layer in `PRUNABLE` and not also to an embedding.
    layout: that of its layer; of several layers that share the weight, the first known one.
    """

    tensor: nn.Parameter
    known: bool
    layout: Layout


def weights_of(network: nn.Module) -> list[Weight]:
    """Return every weight of a network, including frozen ones, in the order of its layers. A weight
    that several layers share appears once."""
    found: dict[int, Weight] = {}
    embedded: set[int] = set()
    for module in network.modules():
        tensors = list(_trained_tensors(module))
        if isinstance(module, _EMBEDDINGS):
            embedded |= {id(tensor) for _, tensor in tensors}
        for attribute, tensor in tensors:
            before, known = found.get(id(tensor)), _is_known(module, attribute)
            if is_matrix(tensor) and (before is None or (known and not before.known)):
                found.pop(id(tensor), None)
                found[id(tensor)] = Weight(tensor, known, _layout(module))
    return [weight._replace(known=weight.known and key not in embedded)
            for key, weight in found.items()]


def included(network: nn.Module, patterns: Iterable[str]) -> set[int]:
    """Return the ids of the weights that a pattern of `pruner.include` matches. Raises SddError for
    a pattern that matches no trained weight."""
    weights = {id(weight.tensor) for weight in weights_of(network)}
    found: set[int] = set()
    for pattern in patterns:
        # Including all names of shared parameters.
        matched = {name: p for name, p in network.named_parameters(remove_duplicate=False)
                   if matches(name, pattern)}
        usable = {id(p) for p in matched.values() if id(p) in weights and p.requires_grad}
        if not matched:
            raise SddError(f"pruner.include: {pattern!r} matches no parameter; `sdd inspect` lists "
                           "them all")
        if not usable:
            name, parameter = next(iter(matched.items()))
            more = f" (and {len(matched) - 1} more)" if len(matched) > 1 else ""
            raise SddError(
                f"pruner.include: {pattern!r} matches nothing that can be pruned: {name}{more} "
                f"{_why_not(parameter)}; expected floating-point parameters with two dimensions "
                "or more that are trained"
            )
        found |= usable
    return found


def _why_not(parameter: Tensor) -> str:
    if not parameter.is_floating_point():
        return f"is {parameter.dtype}"
    if not is_matrix(parameter):
        return f"has {parameter.dim()} dimension{'s' * (parameter.dim() != 1)}"
    return "is the scale of a weight norm" if parameter.requires_grad else "is frozen"


def is_matrix(tensor: Tensor) -> bool:
    """Return whether a parameter is a matrix or a kernel."""
    return tensor.is_floating_point() and tensor.dim() >= 2


def _trained_tensors(module: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Yield the trained tensors of a module's own attributes, without scales of weight norms, each
    with the name of its attribute."""
    if isinstance(module, ParametrizationList):
        return  # its tensors belong to the layer that contains it
    direct = dict(module.named_parameters(recurse=False, remove_duplicate=False))
    for name, tensor in direct.items():
        base = name.removesuffix("_g")
        if base != name and f"{base}_v" in direct:
            continue
        # `_orig` is the suffix of the older spectral norm and of torch's own pruning.
        base = name.removesuffix("_v") if name.removesuffix("_v") + "_g" in direct else name
        yield base.removesuffix("_orig"), tensor
    if is_parametrized(module):
        for attribute, tensors in module.parametrizations.items():  # type: ignore[operator, union-attr]
            for name, tensor in tensors.named_parameters(recurse=False):
                if not (name == "original0" and isinstance(tensors[0], _WeightNorm)):
                    yield attribute, tensor


def _is_known(module: nn.Module, attribute: str) -> bool:
    return any(
        isinstance(module, kind) and any(fnmatchcase(attribute, pattern) for pattern in patterns)
        for kind, patterns in PRUNABLE.items()
    )


def _layout(module: nn.Module) -> Layout:
    groups = getattr(module, "groups", 1) if isinstance(module, nn.modules.conv._ConvNd) else 1
    return Layout(isinstance(module, _TRANSPOSED), groups)

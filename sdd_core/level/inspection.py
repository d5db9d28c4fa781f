"""Inspection of a network: which parameters are prunable, and why others are not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from sdd_core.level.layers import is_matrix, weights_of
from sdd_core.level.masks import prunable_weights
from sdd_core.level.naming import layer_of

NAMED = 4
"""The maximum number of layers to name in one line."""

State = Literal["prunable", "exempt", "left alone"]


@dataclass(frozen=True)
class Parameter:
    """A parameter tensor of a network.

    state: 'prunable', 'exempt' (prunable, but excluded by a pattern), or 'left alone'.
    why: the reason for 'left alone'.
    weight: True for a weight of the network, a matrix or a kernel; False for a bias or a scale.
    """

    name: str
    shape: tuple[int, ...]
    count: int
    state: State
    why: str = ""
    weight: bool = False


def parameters_of(
    network: nn.Module, exempt: Collection[str] = (), include: Collection[str] = ()
) -> list[Parameter]:
    """Return every parameter tensor of a network, in its order.

    exempt: names of weights. include: patterns of weights to prune in addition to the known ones.
    Raises SddError if nothing can be pruned, or if a pattern matches no weight.
    """
    prunable = prunable_weights(network, include)
    weights = {id(weight.tensor) for weight in weights_of(network)}
    owners = {
        f"{path}.{name}" if path else name: module
        for path, module in network.named_modules(remove_duplicate=False)
        for name, _ in module.named_parameters(recurse=False, remove_duplicate=False)
    }
    embeddings = {
        id(weight)
        for module in network.modules() if isinstance(module, nn.Embedding | nn.EmbeddingBag)
        for weight in module.parameters(recurse=False)
    }
    first: dict[int, str] = {}
    rows = []
    for name, parameter in network.named_parameters(remove_duplicate=False):
        same = first.setdefault(id(parameter), name)
        if name in prunable:
            why = ""
            state: State = "exempt" if name in exempt else "prunable"
        else:
            state, why = "left alone", _why(name, parameter, owners[name])
            if same != name:
                why = f"the same tensor as {same}"
            elif id(parameter) in embeddings:
                why = "embedding"
            elif is_matrix(parameter) and id(parameter) not in weights:
                why = "scale of a weight norm"
        count = parameter.numel() if same == name else 0  # shared parameters count once
        rows.append(Parameter(name, tuple(parameter.shape), count, state, why,
                              id(parameter) in weights))
    return rows


def too_little(rows: Collection[Parameter]) -> str | None:
    """Return a line that names the largest excluded layers and what to do, if less than half of a
    network's weights can be pruned; else None."""
    weights = [row for row in rows if row.weight and row.count]
    whole = sum(row.count for row in weights)
    prunable = sum(row.count for row in weights if row.state == "prunable")
    if 2 * prunable >= whole:
        return None
    left: Counter[str] = Counter()
    for row in weights:
        if row.state != "prunable":
            why = row.why.partition(",")[0] or row.state
            left[f"{layer_of(row.name) or row.name} ({why})"] += row.count
    names = [name for name, _ in left.most_common()]
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return (f"only {100 * prunable / whole:.1f} % of this network's {whole:,} weights can be "
            f"pruned; left out are {', '.join(names[:NAMED])}{more}; pruner.include takes patterns "
            "of layers to prune too, pruner.exempt of those that stay whole")


def _why(name: str, parameter: Tensor, owner: nn.Module) -> str:
    kind = type(owner).__name__
    if not parameter.requires_grad:
        return "frozen"
    if "Norm" in kind:
        return "normalisation"
    if name.rpartition(".")[2].endswith("bias"):
        return "bias"
    return f"{kind}'s own, a layer that sdd does not know"

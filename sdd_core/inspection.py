"""What is prunable in a network, and why the rest is not."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from sdd_core.masks import prunable_weights

State = Literal["prunable", "exempt", "left alone"]


@dataclass(frozen=True)
class Parameter:
    """A parameter tensor of a network.

    state: 'prunable', 'exempt' (it could be pruned, but a pattern keeps it), or 'left alone'.
    why: why it is left alone.
    """

    name: str
    shape: tuple[int, ...]
    count: int
    state: State
    why: str = ""


def parameters_of(network: nn.Module, exempt: Collection[str] = ()) -> list[Parameter]:
    """Every parameter tensor of a network, in its order; `exempt` are names of weights.

    Raises SddError when nothing can be pruned.
    """
    prunable = prunable_weights(network)
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
        count = parameter.numel() if same == name else 0  # what is shared counts once
        rows.append(Parameter(name, tuple(parameter.shape), count, state, why))
    return rows


def _why(name: str, parameter: Tensor, owner: nn.Module) -> str:
    kind = type(owner).__name__
    if not parameter.requires_grad:
        return "frozen"
    if "Norm" in kind:
        return "normalisation"
    if name.rpartition(".")[2].endswith("bias"):
        return "bias"
    return f"{kind}'s own, not a weight of a linear layer, convolution or attention"

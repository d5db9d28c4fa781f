"""Weight norm and spectral norm of pruned weights.

A weight norm divides each row by its length, a spectral norm the whole matrix by its largest
singular value. For a row or a matrix of zeros torch returns NaN; these classes return zeros.
Everything else is computed exactly as in torch.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import _SpectralNorm, _WeightNorm
from torch.nn.utils.parametrize import is_parametrized
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm


class _Rows(_WeightNorm):
    """torch.nn.utils.parametrizations.weight_norm."""

    def forward(self, weight_g: Tensor, weight_v: Tensor) -> Tensor:
        empty = _empty(weight_v, self.dim)
        if empty is None:
            return super().forward(weight_g, weight_v)
        # Any nonzero value will do: the second mask removes it and its gradient.
        filled = weight_v.masked_fill(empty, 1.0)
        return super().forward(weight_g, filled).masked_fill(empty, 0.0)


class _Matrix(_SpectralNorm):
    """torch.nn.utils.parametrizations.spectral_norm."""

    def forward(self, weight: Tensor) -> Tensor:
        return super().forward(weight) if weight.any() else weight * 1.0


class _RowsHook(WeightNorm):
    """torch.nn.utils.weight_norm, which is a forward pre-hook."""

    def compute_weight(self, module: nn.Module) -> Any:
        weight_v = getattr(module, f"{self.name}_v")
        empty = _empty(weight_v, self.dim)
        if empty is None:
            return super().compute_weight(module)
        filled, weight_g = weight_v.masked_fill(empty, 1.0), getattr(module, f"{self.name}_g")
        return torch._weight_norm(filled, weight_g, self.dim).masked_fill(empty, 0.0)


class _MatrixHook(SpectralNorm):
    """torch.nn.utils.spectral_norm, which is a forward pre-hook."""

    def compute_weight(self, module: nn.Module, do_power_iteration: bool) -> Tensor:
        weight = getattr(module, f"{self.name}_orig")
        if weight.any():
            return super().compute_weight(module, do_power_iteration)
        return weight * 1.0  # not the parameter itself, which torch would register in the layer


_KEEPS_ZEROS: dict[type, type] = {
    _WeightNorm: _Rows, _SpectralNorm: _Matrix, WeightNorm: _RowsHook, SpectralNorm: _MatrixHook,
}


def keep_zeros(network: nn.Module) -> nn.Module:
    """Make a network's weight and spectral norms map zeros to zeros. Return the network."""
    for module in network.modules():
        for norm in (module, *module._forward_pre_hooks.values()):
            if type(norm) in _KEEPS_ZEROS:
                norm.__class__ = _KEEPS_ZEROS[type(norm)]
    return network


@torch.no_grad()
def has_nan(network: nn.Module) -> bool:
    """Return whether torch computes NaN for a weight of a network, as weight and spectral norms do
    for zeros."""
    for layer in network.modules():
        weights = [getattr(layer, name) for name in _parametrised(layer)]
        for hook in layer._forward_pre_hooks.values():
            if isinstance(hook, WeightNorm):
                weights.append(hook.compute_weight(layer))
            elif isinstance(hook, SpectralNorm):
                weights.append(hook.compute_weight(layer, do_power_iteration=False))
        if any(weight.isnan().any() for weight in weights):
            return True
    return False


def _parametrised(layer: nn.Module) -> list[str]:
    return list(cast(nn.ModuleDict, layer.parametrizations)) if is_parametrized(layer) else []


def _empty(weight: Tensor, dim: int) -> Tensor | None:
    """Return a mask of the zero rows along a dimension (-1: the whole), broadcastable to `weight`;
    None if no row is zero."""
    others = [other for other in range(weight.dim()) if dim == -1 or other != dim % weight.dim()]
    empty = (weight == 0).all(dim=others, keepdim=True) if others else weight == 0
    return empty if bool(empty.any()) else None

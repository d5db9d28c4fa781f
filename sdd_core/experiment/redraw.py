"""New random weights for a layer."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import torch
from torch import nn
from torch.nn.utils.parametrize import is_parametrized


def redraw(layer: nn.Module) -> None:
    """Draw new weights with the layer's `reset_parameters`, or attention's `_reset_parameters`.

    A weight under `torch.nn.utils.parametrize` gets the drawn value through its parametrisation,
    if that can be inverted.
    """
    plain = _plain(layer) if is_parametrized(layer) else layer
    for name in ("_reset_parameters", "reset_parameters"):
        if hasattr(plain, name):
            getattr(plain, name)()
    if plain is not layer:
        for name in _parametrised(layer):
            # If it cannot be inverted, the weight keeps its value; the caller can detect that.
            with suppress(RuntimeError, NotImplementedError):
                setattr(layer, name, getattr(plain, name).detach())


def _plain(layer: nn.Module) -> nn.Module:
    """Return the layer without parametrisations; it shares all other parameters."""
    kind: Any = type(layer).__bases__[0]  # torch derives a class for each such layer
    plain: nn.Module = kind.__new__(kind)
    names, training = _parametrised(layer), layer.training
    # Spectral norm in training mode changes its vectors whenever its weight is read.
    layer.eval()
    drawn = {name: nn.Parameter(torch.full_like(getattr(layer, name), torch.nan)) for name in names}
    layer.train(training)
    parts = {name: part for name, part in layer._modules.items() if name != "parametrizations"}
    plain.__dict__.update(vars(layer), _parameters={**layer._parameters, **drawn}, _modules=parts)
    return plain


def _parametrised(layer: nn.Module) -> list[str]:
    lists: Any = layer.parametrizations
    return list(lists)

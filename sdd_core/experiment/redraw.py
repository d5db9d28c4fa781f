"""How a layer draws its weights anew."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import torch
from torch import nn
from torch.nn.utils.parametrize import is_parametrized


def redraw(layer: nn.Module) -> None:
    """Call a layer's own `reset_parameters`, and that of attention. Of a weight that is
    parametrised, by torch.nn.utils.parametrize, what it is computed from is set so that it has the
    value drawn, where the parametrisation can be inverted."""
    plain = _plain(layer) if is_parametrized(layer) else layer
    for name in ("_reset_parameters", "reset_parameters"):
        if hasattr(plain, name):
            getattr(plain, name)()
    if plain is not layer:
        for name in _parametrised(layer):
            # One that cannot be inverted has what it had, and who called may look for that.
            with suppress(RuntimeError, NotImplementedError):
                setattr(layer, name, getattr(plain, name).detach())


def _plain(layer: nn.Module) -> nn.Module:
    """The layer as if nothing were parametrised; all its other parameters are the same tensors."""
    kind: Any = type(layer).__bases__[0]  # torch derives a class for each such layer
    plain: nn.Module = kind.__new__(kind)
    names, training = _parametrised(layer), layer.training
    # A spectral norm in training changes its vectors when its weight is looked at.
    layer.eval()
    drawn = {name: nn.Parameter(torch.full_like(getattr(layer, name), torch.nan)) for name in names}
    layer.train(training)
    parts = {name: part for name, part in layer._modules.items() if name != "parametrizations"}
    plain.__dict__.update(vars(layer), _parameters={**layer._parameters, **drawn}, _modules=parts)
    return plain


def _parametrised(layer: nn.Module) -> list[str]:
    lists: Any = layer.parametrizations
    return list(lists)

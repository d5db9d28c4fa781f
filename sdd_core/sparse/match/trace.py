"""The operations of a model's forward method."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx, nn

from sdd_core.errors import SddError
from sdd_core.sparse.match.plain import without_side_effects


class _Tracer(fx.Tracer):
    """Refuses what a trace does not show: operations without gradients, or under autocast."""

    def create_node(self, *args: Any, **kwargs: Any) -> fx.Node:
        if not torch.is_grad_enabled() or torch.is_autocast_enabled("cpu"):
            raise SddError("the kernels train all of a model, in its own number type")
        return super().create_node(*args, **kwargs)


@torch.enable_grad()
def trace(module: nn.Module) -> list[fx.Node]:
    """Return the operations of a model's forward method. Raises what the model's own code raises
    when met by a proxy."""
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

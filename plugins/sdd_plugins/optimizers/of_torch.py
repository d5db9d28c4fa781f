"""The optimizers of torch.optim that treat each weight separately."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field, create_model
from torch import Tensor

from sdd_plugins.optimizers.groups import Grouped, by_decay

# Muon and Adafactor use whole matrices. The plugin `sgd` provides SGD with momentum.
OTHERS = {"Adafactor", "Muon", "SGD"}
# Arguments that the engine sets, and those that do not change results.
NO_OPTIONS = {"params", "lr", "weight_decay", "foreach", "maximize", "capturable",
              "differentiable", "fused"}  # fmt: skip

NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Average = Annotated[float, Field(ge=0, lt=1)]


class OfTorch(Grouped):
    """Base of the optimizers of torch."""

    of_torch: ClassVar[Any]

    def make(self, weights: Tensor, lr: float, weight_decay: float) -> torch.optim.Optimizer:
        return self.of_torch([weights], lr=lr, weight_decay=weight_decay, **self._options())

    def make_named(
        self, parameters: Mapping[str, Tensor], lr: float, weight_decay: float
    ) -> torch.optim.Optimizer | None:
        if self.decay_biases:
            return None
        return self.of_torch(by_decay(parameters, weight_decay), lr=lr, **self._options())

    def _options(self) -> dict[str, Any]:
        """Return the arguments of torch's class."""
        own = type(self).model_fields.keys() - Grouped.model_fields.keys()
        return {name: getattr(self, name) for name in own}


def _classes() -> Iterator[type[OfTorch]]:
    for kind in vars(torch.optim).values():
        if not (inspect.isclass(kind) and issubclass(kind, torch.optim.Optimizer)):
            continue
        parameters = inspect.signature(kind).parameters
        # Without weight decay it is not for networks: L-BFGS, SparseAdam, the base class.
        if "weight_decay" not in parameters or kind.__name__ in OTHERS:
            continue
        fields: dict[str, Any] = {
            name: (_type(parameter.default), Field(
                default=parameter.default, description=f"as in torch.optim.{kind.__name__}"))
            for name, parameter in parameters.items() if name not in NO_OPTIONS
        }
        made = create_model(kind.__name__, __base__=OfTorch, __module__=__name__,
                            __doc__=f"torch.optim.{kind.__name__}.", **fields)
        made.name, made.of_torch = kind.__name__, kind
        yield made


def _type(default: Any) -> Any:
    """Return the type of an option with this default."""
    if isinstance(default, bool):
        return bool
    return tuple[Average, Average] if isinstance(default, tuple) else NotNegative


OF_TORCH = list(_classes())
globals().update({made.__name__: made for made in OF_TORCH})  # pickle looks them up here

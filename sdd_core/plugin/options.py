"""The kinds of plugins that are options: of training, or of another plugin.

An option that takes a plugin, `pruner.scope`, takes its name, or a table of its name and options;
in an experiment it holds the plugin itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

from pydantic import BaseModel, GetCoreSchemaHandler, SerializationInfo
from pydantic_core import CoreSchema, core_schema

from sdd_core.plugin.base import Plugin

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor



@dataclass(frozen=True)
class Takes:
    """Marks an option that takes a plugin of a kind: its name, a table or the plugin itself, or
    else what `plain` is the type of.

    Names become plugins in an experiment: only there is it known which plugins there are. Written
    down is a name alone, where all options of the plugin are as they are by default.
    """

    kind: str
    plain: Any = str

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_wrap_validator_function(
            self._validate,
            handler.generate_schema(self.plain),
            serialization=core_schema.plain_serializer_function_ser_schema(_brief, info_arg=True),
        )

    def _validate(self, value: Any, plain: core_schema.ValidatorFunctionWrapHandler) -> Any:
        if isinstance(value, Plugin) and value.kind != self.kind:
            raise ValueError(f"expected a plugin of the kind {self.kind}, got the {value.kind} "
                             f"{value.name!r}")
        return value if isinstance(value, Plugin | str | Mapping) else plain(value)


def _brief(value: Any, info: SerializationInfo) -> Any:
    if not isinstance(value, Plugin):
        return value
    table = value.model_dump(mode=info.mode, context=info.context)
    usual = all(
        getattr(value, name) == option.get_default(call_default_factory=True)
        for name, option in type(value).model_fields.items()
    )
    return table["name"] if usual else table


def taken(model: type[BaseModel]) -> dict[str, str]:
    """The options of a plugin, or of training, that take a plugin, and the kind each takes."""
    return {
        name: mark.kind
        for name, info in model.model_fields.items()
        for mark in info.metadata
        if isinstance(mark, Takes)
    }


class Optimizer(Plugin):
    """Takes the steps of training."""

    kind: ClassVar[str] = "optimizer"

    @property
    def sgd_momentum(self) -> float | None:
        """Its momentum, if it is plain SGD with momentum: the engine and the kernels for sparse
        networks then take the steps themselves, and `make` is not called. None for all others."""
        return None

    def make(self, weights: Tensor, lr: float, weight_decay: float) -> torch.optim.Optimizer:
        """An optimizer of `weights`, float32 `[number of weights]`: all that trains, in one.

        So it has to treat each weight by itself. Pruned weights have no gradient and are put back
        after each step, before which its learning rate is set. What it remembers is tensors and
        numbers by name, which a checkpoint keeps.
        """
        raise NotImplementedError


class Decay(Plugin):
    """How the learning rate changes while the dense network trains."""

    kind: ClassVar[str] = "decay"

    def factors(self, steps: int) -> np.ndarray:
        """Return what `train.lr` is multiplied by at every step of the dense network's training,
        float64 `[steps]`, 0 or more. The engine multiplies warm-up to it."""
        raise NotImplementedError


class Layer(NamedTuple):
    """A layer as a scope sees it: how many of its weights are kept, and its weights' shape."""

    kept: int
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """How many weights it has, pruned ones too."""
        return math.prod(self.shape)


class Scope(Plugin):
    """Where the scores of weights compete.

    within: inside each layer too, within each of its outputs, or inputs, which lose equal shares
        of what they have left. Each layer then is a group of its own.
    """

    kind: ClassVar[str] = "scope"
    within: ClassVar[Literal["output", "input"] | None] = None

    def shares(
        self, layers: Mapping[str, Layer], count: Callable[[int, int], int]
    ) -> Sequence[tuple[Sequence[str], int]]:
        """Groups of layers whose scores compete, and how many weights each group loses.

        How a group's number is shared out among outputs or inputs is the engine's business.

        layers: those that may be pruned, in the network's order; each belongs to one group.
        count: how many are to go where `kept` weights of `size` are left, `count(kept, size)`.
        """
        raise NotImplementedError


class Sparsities(Plugin):
    """The sparsity of each level."""

    kind: ClassVar[str] = "sparsity"

    def sparsity(self, level: int) -> float:
        """Of level 1 and up, between 0 and 1, no less than the level before. It must not depend on
        how many levels an experiment has: more may be added later."""
        raise NotImplementedError

    def levels(self) -> int | None:
        """How many levels an experiment has that does not say so; None: as many as usual."""
        return None

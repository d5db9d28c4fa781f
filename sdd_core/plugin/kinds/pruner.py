"""Which weights are pruned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, cast

from pydantic import BeforeValidator, Field, field_validator, model_validator

from sdd_core.plugin.base import (  # noqa: F401 (they belong to the kinds below)
    AddedLater,
    Fraction,
    Frozen,
    NonNegative,
    Plugin,
    Positive,
    label,
)
from sdd_core.plugin.kinds.scope import Scope
from sdd_core.plugin.kinds.sparsity import SparsitySchedule
from sdd_core.plugin.options import PluginRef

if TYPE_CHECKING:

    from torch import Tensor

    from sdd_core.level.level import LevelView


def _several(value: Any) -> Any:
    return (value,) if isinstance(value, int | float) else value


class Pruner(Plugin):
    """Says which of the remaining weights go.

    A subclass gives scores; which weights that removes, with exempt layers, scope, exact counts,
    ties and nesting, is worked out by the engine, once and the same for all.

    together: weights with equal scores go at once, even if that is more than was asked for. For
        structured pruning: the weights of a channel have one score, and none is cut in two.
    """

    kind: ClassVar[str] = "pruner"
    hook: ClassVar[str] = "sdd_pruners"
    title: ClassVar[str] = "Pruners"
    prune_ties: ClassVar[bool] = False

    fraction: Fraction = Field(
        default=0.2, description="fraction of the remaining weights a level prunes"
    )
    sparsity: Annotated[
        tuple[Fraction, ...] | SparsitySchedule | None,
        PluginRef("sparsity", Annotated[
            tuple[Fraction, ...] | None,
            BeforeValidator(_several, json_schema_input_type=Fraction | tuple[Fraction, ...] | None)
        ]),
    ] = Field(
        default=None,
        description="the sparsity of each level, instead of a fraction per level: a list, one "
        "number, which prunes once, or a plugin, as 'linear'",
    )
    from_dense: bool = Field(
        default=False,
        description="one-shot pruning: every level prunes the dense network, not the level before",
    )
    scope: Annotated[Scope, PluginRef("scope")] = Field(
        default=cast(Any, "global"),
        description="where scores compete: over all layers ('global') or within each, which lose "
        "equal shares ('layer') or stay denser the smaller they are ('erk'), or within each "
        "output or input of a layer ('output', 'input')",
    )
    exempt: tuple[str, ...] | None = Field(
        default=None,
        description="patterns (fnmatch) of layers that are never pruned; "
        "not given: what the model's authors exempt",
    )
    include: Annotated[tuple[str, ...] | None, AddedLater()] = Field(
        default=None,
        description="patterns (fnmatch) of layers or parameters that are pruned besides those "
        "that sdd knows: of own layers, embeddings, any parameter with two dimensions or more; "
        "also of those that the model's authors exempt",
    )
    keep_at_least: Annotated[int | float | None, AddedLater()] = Field(
        default=None,
        gt=0,
        description="how many weights each layer keeps, a count or a fraction; the others lose "
        "what it may not; not given: a layer may lose all",
    )

    @field_validator("sparsity")
    @classmethod
    def _grows(cls, value: Any) -> Any:
        if isinstance(value, tuple) and (not value or list(value) != sorted(set(value))):
            raise ValueError(f"sparsities {list(value)} must grow, and be at least one")
        return value

    @field_validator("keep_at_least")
    @classmethod
    def _count_or_fraction(cls, value: int | float | None) -> int | float | None:
        if value is None or value < 1:
            return value
        if value != int(value):
            raise ValueError(f"keep_at_least is {value}; expected a count, such as 1, or a "
                             "fraction below 1")
        return int(value)

    @model_validator(mode="after")
    def _one_measure(self) -> Pruner:
        usual = type(self).model_fields["fraction"].default
        if self.sparsity is not None and self.fraction != usual:
            raise ValueError("sparsity and fraction are both given; give one, how sparse each "
                             "level is or how much it prunes")
        return self

    def scores(self, level: LevelView) -> Mapping[str, Tensor]:
        """A score for every weight of every layer in `level.prunable`; the lowest go first.

        Each tensor has the shape of its layer's weight and is finite. Scores of weights that are
        pruned already are ignored.
        """
        raise NotImplementedError

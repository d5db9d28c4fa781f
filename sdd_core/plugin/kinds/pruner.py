"""Pruners: methods that select the weights to prune."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, cast

from pydantic import BeforeValidator, Field, field_validator, model_validator

from sdd_core.plugin.base import AddedLater, Fraction, Plugin
from sdd_core.plugin.kinds.scope import Scope
from sdd_core.plugin.kinds.sparsity import SparsitySchedule
from sdd_core.plugin.options import PluginRef
from sdd_core.plugin.pattern import UNSTRUCTURED, parse_pattern

if TYPE_CHECKING:
    from torch import Tensor

    from sdd_core.level.level import LevelView
    from sdd_core.level.step import StepView


def _several(value: Any) -> Any:
    return (value,) if isinstance(value, int | float) else value


class Pruner(Plugin):
    """A method that selects which of the remaining weights are pruned.

    A subclass returns scores. The engine turns them into masks in the same way for all pruners:
    exempt layers, scope, exact counts, ties and nesting.

    prune_ties: True if weights with equal scores are pruned together, even if that is more than
        the requested number. For structured pruning: all weights of a channel have one score, and
        no channel is pruned in part.
    """

    kind: ClassVar[str] = "pruner"
    hook: ClassVar[str] = "sdd_pruners"
    title: ClassVar[str] = "Pruners"
    prune_ties: ClassVar[bool] = False

    fraction: Fraction = Field(
        default=0.2, description="fraction of the remaining weights to prune at each level"
    )
    sparsity: Annotated[
        tuple[Fraction, ...] | SparsitySchedule | None,
        PluginRef("sparsity", Annotated[
            tuple[Fraction, ...] | None,
            BeforeValidator(_several, json_schema_input_type=Fraction | tuple[Fraction, ...] | None)
        ]),
    ] = Field(
        default=None,
        description="sparsity of each level, instead of a fraction per level: a list, one number "
        "(one pruning), or a plugin, such as 'linear'",
    )
    start: Annotated[Literal["dense", "as-is"], AddedLater()] = Field(
        default="dense",
        description="masks of level 0: 'dense' keeps every weight; 'as-is' holds the weights at "
        "zero that are exactly zero in the given or pretrained network, at every level",
    )
    from_dense: bool = Field(
        default=False,
        description="one-shot pruning: prune the dense network at every level, not the level "
        "before",
    )
    scope: Annotated[Scope, PluginRef("scope")] = Field(
        default=cast(Any, "global"),
        description="weights whose scores compete: those of all layers ('global'); of each layer, "
        "with the same fraction pruned in each ('layer') or smaller layers kept denser ('erk'); or "
        "of each output or input of a layer ('output', 'input')",
    )
    exempt: tuple[str, ...] | None = Field(
        default=None,
        description="patterns (fnmatch) of layers that are never pruned; "
        "default: the layers that the model's authors exempt",
    )
    include: Annotated[tuple[str, ...] | None, AddedLater()] = Field(
        default=None,
        description="patterns (fnmatch) of more layers or parameters to prune: custom layers, "
        "embeddings, any parameter with two or more dimensions; also layers that the model's "
        "authors exempt",
    )
    keep_at_least: Annotated[int | float | None, AddedLater()] = Field(
        default=None,
        gt=0,
        description="minimum number or fraction of weights that each layer keeps; other layers are "
        "pruned more instead; default: no minimum",
    )

    pattern: Annotated[str, AddedLater()] = Field(
        default=UNSTRUCTURED,
        description="groups of weights that are pruned together: 'row' or 'channel' (an output: a "
        "row of a linear layer, a filter of a convolution), 'column' (an input), 'block RxC' of "
        "the matrix of outputs and inputs; or 'N:M', which keeps N of each M weights along the "
        "inputs, such as '2:4'",
    )
    pattern_score: Annotated[Literal["sum", "mean"], AddedLater()] = Field(
        default="sum", description="score of a group: the sum or the mean of its weights' scores"
    )

    @field_validator("pattern")
    @classmethod
    def _known_pattern(cls, value: str) -> str:
        parse_pattern(value)
        return value

    @field_validator("sparsity")
    @classmethod
    def _grows(cls, value: Any) -> Any:
        if isinstance(value, tuple) and (not value or list(value) != sorted(set(value))):
            raise ValueError(f"sparsities {list(value)} must be one or more increasing values")
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
            raise ValueError("sparsity and fraction are both set; set only one of them: the "
                             "sparsity of each level, or the fraction that each level prunes")
        return self

    def scores(self, level: LevelView) -> Mapping[str, Tensor]:
        """Return a score for every weight of every layer in `level.prunable`; weights with the
        lowest scores are pruned first.

        Each tensor has the shape of its layer's weight and is finite. Scores of weights that have
        already been pruned are ignored.
        """
        raise NotImplementedError

    def observe(self, state: MutableMapping[str, Tensor], step: StepView) -> None:
        """Observe a training step of a level that may be pruned, before its weights move; by
        default nothing is observed.

        `state` is empty at the level's first step. It holds tensors by name, which the engine keeps
        from step to step, in checkpoints and with the level: `level.observed` in `scores`. Keep
        nothing elsewhere. What is observed may depend on the options that the class itself
        declares, not on those of all pruners, such as `fraction`, because experiments that differ
        in them share the dense network.
        """

    @classmethod
    def observes(cls) -> bool:
        """Return whether the pruner observes training. Its levels are then trained on the general
        path, which has the gradients of all weights."""
        return cls.observe is not Pruner.observe

"""The base classes of everything that can be plugged in.

A plugin is a class. Its options are its pydantic fields, so that one definition gives validation,
`--help`, the schema of experiment files and the record in the run. Subclass the kind you need,
set `name`, write a docstring whose first line says what it is, and return the class from the
hook of its kind (see `sdd_core.plugin.hookspecs`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, cast

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
from sdd_core.plugin.options import Decay, Optimizer, Scope, Sparsities, Takes

if TYPE_CHECKING:
    import concurrent.futures

    import torch
    from torch import Tensor, nn

    from sdd_core.data.dataset import Dataset
    from sdd_core.level.level import LevelView
    from sdd_core.level.retraining import Dense, Retraining
    from sdd_core.plugin.run import Run

PrunedValue = Literal["zero", "initial", "previous", "permuted"]
"""Where pruned weights are held: at 0, at what the level starts from, at the last value before
they were pruned, or at those values in another order within each layer."""


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
    together: ClassVar[bool] = False

    fraction: Fraction = Field(
        default=0.2, description="fraction of the remaining weights a level prunes"
    )
    sparsity: Annotated[
        tuple[Fraction, ...] | Sparsities | None,
        Takes("sparsity", Annotated[
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
    scope: Annotated[Scope, Takes("scope")] = Field(
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


class Schedule(Plugin):
    """A retraining schedule: from which weights, at which step, with which learning rates and
    for how long a level trains after it has been pruned."""

    kind: ClassVar[str] = "schedule"

    pruned: PrunedValue = Field(
        default="zero", description="where a level's pruned weights are held while it trains"
    )

    def retraining(self, dense: Dense) -> Retraining:
        """The retraining of a level, as data. `dense` is what the dense network's training was:
        its learning rate at every step and the number of steps in an epoch."""
        raise NotImplementedError


class Ablation(Plugin):
    """What becomes of a level when one thing about it is changed.

    The levels themselves go on as without it, and are shared with the run that has no ablation:
    each of them but the dense one is trained once more, changed, and it is that network which is
    measured. It stands at the sparsity of the level that it was made from.
    """

    kind: ClassVar[str] = "ablation"

    def masks(self, level: LevelView) -> Mapping[str, Tensor]:
        """The masks to train under, bool, in place of `level.masks`."""
        return level.masks

    def retraining(self, dense: Dense, retraining: Retraining, level: int) -> Retraining:
        """How to train level `level`, 1 or more, in place of the `retraining` that the schedule
        asked for."""
        return retraining


class Loss(Plugin):
    """What training minimises.

    teacher: the network whose logits a pruned level learns from: 'dense', or 'previous' for the
        level before. Losses with a teacher leave the dense network to cross-entropy.
    """

    kind: ClassVar[str] = "loss"
    teacher: ClassVar[Literal["dense", "previous"] | None] = None

    def loss(self, logits: Tensor, labels: Tensor, teacher: Tensor | None) -> Tensor:
        """The mean loss of a batch, a tensor without dimensions.

        logits: float `[batch, classes]`. labels: int64 `[batch]`. teacher: float
        `[batch, classes]`, its logits without augmentation; None where there is none.
        """
        raise NotImplementedError


class Metric(Plugin):
    """A number, several, or a number for each layer, measured on a trained level.

    default: measured where an experiment does not say which metrics it wants; False for those
        that take long.
    """

    kind: ClassVar[str] = "metric"
    default: ClassVar[bool] = True

    def measure(self, level: LevelView) -> Mapping[str, Any]:
        """Named values: floats, integers, None, or a mapping from layer to float."""
        raise NotImplementedError


class LabelNoise(Plugin):
    """Which training labels are wrong. The true labels are kept beside them by the engine."""

    kind: ClassVar[str] = "noise"

    rate: float = Field(
        default=0.4, ge=0, le=1, description="fraction of training labels that is drawn"
    )

    def corrupt(self, labels: Tensor, data: Dataset, generator: torch.Generator) -> Tensor:
        """The noisy labels, int64 `[N]`, for the true `labels`, int64 `[N]`, of the whole
        training set. `generator` is the only source of randomness. Do not change `labels`."""
        raise NotImplementedError


class DataSource(Plugin):
    """Where images and labels come from.

    default_noise: the label noise of an experiment that does not ask for any: a name, or a table
        of a name and options. What users bring keeps its labels; a benchmark may have them redrawn.
    """

    kind: ClassVar[str] = "data"
    default_noise: ClassVar[str | Mapping[str, Any]] = "none"

    examples: int | None = Field(
        default=None,
        ge=1,
        description="train on so many examples, drawn after the label noise and independently "
        "of it; not given: all",
    )

    def load(self, root: Path | None) -> Dataset:
        """The data, on the CPU. `root` is the folder of `--data-root`, or None where none was
        given. Raises SddError when files are missing or damaged."""
        raise NotImplementedError


class Model(Plugin):
    """A family of networks."""

    kind: ClassVar[str] = "model"

    def build(self, input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
        """A freshly initialised network for examples of `input_shape`, with `num_classes`
        outputs. torch's global generator has been seeded for it."""
        raise NotImplementedError

    def fresh(self, input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
        """Another network, initialised independently, for levels that start anew."""
        return self.build(input_shape, num_classes)

    def exempt(self) -> tuple[str, ...]:
        """Patterns of the layers that its authors never prune."""
        return ()


class Executor(Plugin):
    """Where the tasks of a sweep are carried out. It is no part of an experiment: the results are
    the same wherever they are made."""

    kind: ClassVar[str] = "executor"

    workers: int | None = Field(
        default=None, ge=1, description="tasks at a time; not given: as many as there are cores for"
    )

    def open(self, width: int) -> concurrent.futures.Executor:
        """Workers, of which a sweep keeps at most `width` busy.

        They are handed functions and arguments that can be pickled, and reach the store by its
        path. A task whose worker dies has to be tried again, it goes on from its checkpoint; when
        that does not help, its future raises SddError. `shutdown(cancel_futures=True)` ends
        tasks that are being carried out as well. Raises SddError when there can be no workers.
        """
        raise NotImplementedError


class Tracker(Plugin):
    """Where a run's settings, curves and figure are sent. It is no part of an experiment.

    After its first exception, which is reported, it hears no more of that run.

    package: the package that it needs besides sdd's own.
    """

    kind: ClassVar[str] = "tracker"
    package: ClassVar[str] = ""

    def start(self, run: Run, settings: Mapping[str, Any]) -> None:
        """A run begins, or goes on. `settings` are the experiment's, by dotted names."""
        raise NotImplementedError

    def log(self, axis: str, step: int, values: Mapping[str, float]) -> None:
        """Points of curves: `level/NAME` where `axis` is 'level' and `step` the level, and
        `level 03/NAME` for the epochs of level 3, where `axis` is 'epoch'. All are finite; a run
        that goes on logs the levels that are there once more."""
        raise NotImplementedError

    def end(self, figure: Path | None) -> None:
        """The run is over: with its figure, a PNG file, or, interrupted, without one."""
        raise NotImplementedError


KINDS: dict[str, type[Plugin]] = {
    kind.kind: kind
    for kind in (
        Pruner, Schedule, Metric, LabelNoise, DataSource, Model, Loss, Ablation, Executor,
        Tracker, Optimizer, Decay, Scope, Sparsities,
    )
}  # fmt: skip

"""The experiment: a frozen value with everything that decides a result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import tomli_w
from pydantic import Field, SerializeAsAny, ValidationError, ValidationInfo, model_validator

from sdd_core.errors import SddError
from sdd_core.experiment.applied_noise import noise_name
from sdd_core.experiment.choice import DEFAULTS, Choice, chosen
from sdd_core.experiment.settings import dotted, first_error, without_none
from sdd_core.experiment.train import Train
from sdd_core.output.brief import Text, brief
from sdd_core.plugin.base import AddedLater
from sdd_core.plugin.discovery import Plugins
from sdd_core.plugin.kinds import (
    KINDS,
    Ablation,
    DataSource,
    Frozen,
    LabelNoise,
    Loss,
    Metric,
    Model,
    Plugin,
    Pruner,
    Schedule,
    SparseTraining,
    SparsitySchedule,
    label,
)
from sdd_core.plugin.options import plugin_fields

MOST_SHOWN = 6
"""The number of options that the `repr` of an experiment shows."""


class Experiment(Frozen):
    """Everything that decides a result. Equal experiments give equal results.

    A section that names a plugin takes an instance, its name, or a table of its name and options:
    `Experiment(pruner="imp", noise={"name": "symmetric", "rate": 0.2})`. A model may also be a
    torch.nn.Module or a function that makes one. Data may also be a Dataset, or a pair of training
    and test data that `Dataset.of` accepts.
    """

    seed: int = Field(default=0, ge=0, lt=2**63, description="seed for all random choices")
    data: Annotated[SerializeAsAny[DataSource], chosen("data")] = Field(
        default=DEFAULTS["data"], validate_default=True, description="data set"
    )
    noise: Annotated[SerializeAsAny[LabelNoise], chosen("noise")] = Field(
        default_factory=dict,
        validate_default=True,
        description="label noise of the training set; default: that of the data set, none for "
        "your own data; options without a name set symmetric noise",
    )
    model: Annotated[SerializeAsAny[Model], chosen("model")] = Field(
        default=DEFAULTS["model"], validate_default=True, description="network"
    )
    train: Train = Field(default_factory=Train, description="training of the dense network")
    loss: Annotated[SerializeAsAny[Loss] | None, chosen("loss")] = Field(
        default=None, description="training loss; default: cross-entropy"
    )
    pruner: Annotated[SerializeAsAny[Pruner], chosen("pruner")] = Field(
        default=DEFAULTS["pruner"], validate_default=True, description="method that selects the "
        "weights to prune"
    )
    retrain: Annotated[SerializeAsAny[Schedule], chosen("retrain")] = Field(
        default=DEFAULTS["retrain"], validate_default=True,
        description="retraining schedule of the pruned levels"
    )
    sparse_training: Annotated[
        SerializeAsAny[SparseTraining] | None, chosen("sparse-training"), AddedLater()
    ] = Field(
        default=None,
        description="method that moves the masks of a pruned level while it trains; default: they "
        "stay",
    )
    ablation: Annotated[SerializeAsAny[Ablation] | None, chosen("ablation")] = Field(
        default=None,
        description="change to a copy of each pruned level; the levels themselves stay unchanged",
    )
    levels: int = Field(
        default_factory=lambda made: _levels_of(made.get("pruner")) or 25,
        ge=0,
        le=10_000,
        description="number of prunings; default: the number of levels of pruner.sparsity if it is "
        "set, else 25",
    )
    metrics: tuple[Annotated[SerializeAsAny[Metric], chosen("metric")], ...] | None = Field(
        default=None, description="metrics to measure; default: all that are quick to measure"
    )
    kernels: Literal["auto", "none"] = Field(
        default="auto",
        description="'auto' trains with sparse kernels where they are faster, 'none' with dense "
        "arithmetic under masks",
    )

    def __repr__(self) -> str:
        plugins = plugins_of(self)
        names = [brief(Text(label(plugin))) for field, plugin in plugins.items()
                 if field in sections() and field != "noise"]
        names.insert(1, f"noise {noise_name(self.noise)}")
        changed = [f"{section}.{option}={brief(value)}"
                   for section, model in {"train": self.train, **plugins}.items()
                   for option, value in changed_options(model).items()
                   if (section, option) != ("noise", "rate")]
        if len(changed) > MOST_SHOWN:
            changed[MOST_SHOWN:] = [f"and {len(changed) - MOST_SHOWN} more options"]
        counts = [f"{self.levels} levels", f"seed {self.seed}"]
        return f"<Experiment {', '.join(names)}: {', '.join(counts + changed)}>"

    @model_validator(mode="after")
    def _a_sparsity_for_each_level(self, info: ValidationInfo) -> Experiment:
        sparsity = self.pruner.sparsity
        if not isinstance(sparsity, tuple):
            return self
        count = len(sparsity)
        recorded = (info.context or {}).get("recorded")  # earlier versions accepted too many
        # One-shot pruning with levels=0 trains the dense network only; that is a valid choice.
        dense_only = self.levels == 0 and count == 1
        if self.levels < count and not (recorded or dense_only):
            raise ValueError(
                f"pruner.sparsity has {count} values, but levels is {self.levels}; set "
                f"levels to {count}, or remove the sparsities that you do not need"
            )
        if self.levels > count:
            raise ValueError(
                f"pruner.sparsity has {count} value(s), but levels is {self.levels}; set levels "
                f"to {count}, or remove pruner.sparsity and set pruner.fraction"
            )
        return self

    @classmethod
    def make(
        cls,
        settings: Mapping[str, Any] | None = None,
        plugins: Plugins | None = None,
        *,
        recorded: bool = False,
    ) -> Experiment:
        """Return an experiment from nested settings, as in a TOML file.

        recorded: the settings come from the record of a run. No module of the user is then
            imported to hash its source, because the record holds the hash.

        Raises SddError that names the first unknown or invalid field.
        """
        context = {"plugins": plugins, "recorded": recorded}
        try:
            return cls.model_validate(dict(settings or {}), context=context)
        except ValidationError as error:
            raise SddError(first_error(error)) from None

    def to_dict(self, context: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return nested settings from which `make` makes an equal experiment, without None values.

        context: the pydantic context of the dump (see `FOR_KEYS` in `sdd_core.plugin.base`).
        """
        return without_none(self.model_dump(mode="json", context=context))

    def settings(self) -> dict[str, Any]:
        """Return every setting under its dotted name, `train.lr`. A list becomes text, `300,100`;
        a section without a plugin has the name None."""
        whole = self.model_dump(mode="json")
        for field, plugin in plugins_of(self).items():
            section, dot, option = field.partition(".")
            if dot:  # all its options, including those with default values
                whole[section][option] = plugin.model_dump(mode="json")
        return dotted(whole, sections())

    def to_toml(self) -> str:
        """Return the experiment as the text of a TOML file for `sdd run`."""
        return tomli_w.dumps(self.to_dict())


def _levels_of(pruner: Pruner | None) -> int | None:
    """Return the number of levels that a pruner's sparsities cover; 0 or None if it sets none."""
    sparsity = pruner.sparsity if pruner else None
    return sparsity.levels() if isinstance(sparsity, SparsitySchedule) else len(sparsity or ())


def sections() -> dict[str, type[Plugin]]:
    """Return the sections of an experiment that name one plugin, with the base class of each."""
    return {section: KINDS[mark.kind] for section, info in Experiment.model_fields.items()
            for mark in info.metadata if isinstance(mark, Choice)}


def options_that_name() -> dict[str, str]:
    """Return the options of sections that take a plugin, such as `train.optimizer`, with the kind
    of each."""
    return {f"{section}.{option}": kind
            for section, model in (("train", Train), ("pruner", Pruner))
            for option, kind in plugin_fields(model).items()}


def kind_of(field: str) -> str:
    """Return the kind of plugin that a section, or an option of one, takes."""
    return sections()[field].kind if field in sections() else options_that_name()[field]


def field_of(kind: str) -> str:
    """Return the section, or the option of one, that takes plugins of a kind; '' if none does."""
    kinds = {section: base.kind for section, base in sections().items()} | options_that_name()
    return next((field for field, one in kinds.items() if one == kind), "")


def default_of_option(field: str) -> str | None:
    """Return the name of the default plugin of an option such as `train.optimizer`; None if it has
    no default."""
    section, _, option = field.partition(".")
    models: dict[str, type[Frozen]] = {"train": Train, "pruner": Pruner}
    default = models[section].model_fields[option].default
    return default if isinstance(default, str) else None


def plugins_of(experiment: Experiment) -> dict[str, Plugin]:
    """Return the plugins of an experiment, without metrics: those of sections by section, and those
    of options by dotted name."""
    found = {section: getattr(experiment, section) for section in sections()}
    for field in options_that_name():
        section, _, option = field.partition(".")
        found[field] = getattr(getattr(experiment, section), option)
    return {field: plugin for field, plugin in found.items() if isinstance(plugin, Plugin)}


def changed_options(model: Frozen) -> dict[str, Any]:
    """Return the options of a plugin, or of training, that differ from their defaults."""
    usual = {name: option.get_default(call_default_factory=True)
             for name, option in type(model).model_fields.items()}
    return {name: value for name, value in model.model_dump().items()
            if name != "name" and (name not in usual or value != usual[name])}

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
    SparsitySchedule,
    label,
)
from sdd_core.plugin.options import plugin_fields

MOST_SHOWN = 6
"""Options that the `repr` of an experiment shows."""


class Experiment(Frozen):
    """Everything that decides a result. Equal experiments give equal results.

    A section that names a plugin takes an instance, its name, or a table of its name and options:
    `Experiment(pruner="imp", noise={"name": "symmetric", "rate": 0.2})`. A model may also be a
    torch.nn.Module or a function that makes one, and data a Dataset or a pair of training and
    test data as `Dataset.of` takes them.
    """

    seed: int = Field(default=0, ge=0, lt=2**63, description="of every stream of randomness")
    data: Annotated[SerializeAsAny[DataSource], chosen("data")] = Field(
        default=DEFAULTS["data"], validate_default=True, description="the data set"
    )
    noise: Annotated[SerializeAsAny[LabelNoise], chosen("noise")] = Field(
        default_factory=dict,
        validate_default=True,
        description="wrong training labels; not given: what the data set says, which is none for "
        "data of your own; options without a name: symmetric noise",
    )
    model: Annotated[SerializeAsAny[Model], chosen("model")] = Field(
        default=DEFAULTS["model"], validate_default=True, description="the network"
    )
    train: Train = Field(default_factory=Train, description="how the dense network trains")
    loss: Annotated[SerializeAsAny[Loss] | None, chosen("loss")] = Field(
        default=None, description="what training minimises; not given: cross-entropy"
    )
    pruner: Annotated[SerializeAsAny[Pruner], chosen("pruner")] = Field(
        default=DEFAULTS["pruner"], validate_default=True, description="which weights go"
    )
    retrain: Annotated[SerializeAsAny[Schedule], chosen("retrain")] = Field(
        default=DEFAULTS["retrain"], validate_default=True, description="how a pruned level trains"
    )
    ablation: Annotated[SerializeAsAny[Ablation] | None, chosen("ablation")] = Field(
        default=None,
        description="what is changed about each pruned level, beside the levels themselves",
    )
    levels: int = Field(
        default_factory=lambda made: _levels_of(made.get("pruner")) or 25,
        ge=0,
        le=10_000,
        description="how often to prune; as many as pruner.sparsity has, where it is given",
    )
    metrics: tuple[Annotated[SerializeAsAny[Metric], chosen("metric")], ...] | None = Field(
        default=None, description="what to measure; not given: all that is quickly measured"
    )
    kernels: Literal["auto", "none"] = Field(
        default="auto",
        description="'auto' trains with sparse kernels where they are faster, 'none' with plain "
        "dense arithmetic under masks",
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
        given = self.pruner.sparsity
        recorded = (info.context or {}).get("recorded")  # earlier versions took them
        # The dense network alone, of an experiment that prunes at one stroke, leaves nothing out.
        dense = self.levels == 0 and isinstance(given, tuple) and len(given) == 1
        if isinstance(given, tuple) and self.levels < len(given) and not (recorded or dense):
            raise ValueError(
                f"pruner.sparsity is given for {len(given)} levels, but levels is {self.levels}; "
                "set levels to that, or leave out the sparsities that are not wanted"
            )
        if isinstance(given, tuple) and self.levels > len(given):
            raise ValueError(
                f"pruner.sparsity is given for {len(given)} level(s), but levels is {self.levels}; "
                "set levels to that, or leave pruner.sparsity out and set pruner.fraction"
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
        """Return an experiment from nested settings, as a TOML file has them.

        recorded: they are those of a run that has begun. No module of a user is then imported to
            tell its source from others: the record says what it was.

        Raises SddError that names the first field that is unknown or impossible.
        """
        context = {"plugins": plugins, "recorded": recorded}
        try:
            return cls.model_validate(dict(settings or {}), context=context)
        except ValidationError as error:
            raise SddError(first_error(error)) from None

    def to_dict(self, context: dict[str, Any] | None = None) -> dict[str, Any]:
        """Nested settings that `make` turns into an equal experiment; what is None is left out.

        context: what the settings are written down for (see `sdd_core.plugin.base`).
        """
        return without_none(self.model_dump(mode="json", context=context))

    def settings(self) -> dict[str, Any]:
        """Every setting under its dotted name, `train.lr`; a list is text, `300,100`, and a
        section without a plugin has a name that is None."""
        whole = self.model_dump(mode="json")
        for field, plugin in plugins_of(self).items():
            section, dot, option = field.partition(".")
            if dot:  # with its options, those too that are as by default
                whole[section][option] = plugin.model_dump(mode="json")
        return dotted(whole, sections())

    def to_toml(self) -> str:
        """The experiment as a TOML file that `sdd run` takes."""
        return tomli_w.dumps(self.to_dict())


def _levels_of(pruner: Pruner | None) -> int | None:
    """How many levels a pruner's sparsities are given for, if they are."""
    given = pruner.sparsity if pruner else None
    return given.levels() if isinstance(given, SparsitySchedule) else len(given or ())


def sections() -> dict[str, type[Plugin]]:
    """Return the sections of an experiment that name one plugin, with the kind each takes."""
    return {section: KINDS[mark.kind] for section, info in Experiment.model_fields.items()
            for mark in info.metadata if isinstance(mark, Choice)}


def options_that_name() -> dict[str, str]:
    """Return the settings below a section that take a plugin, `train.optimizer`, and the kind of
    each."""
    return {f"{section}.{option}": kind
            for section, model in (("train", Train), ("pruner", Pruner))
            for option, kind in plugin_fields(model).items()}


def kind_of(field: str) -> str:
    """Return the kind of plugin that a section, or a setting below one, takes."""
    return sections()[field].kind if field in sections() else options_that_name()[field]


def field_of(kind: str) -> str:
    """Return the section, or the setting below one, that takes plugins of a kind; '' if none."""
    kinds = {section: base.kind for section, base in sections().items()} | options_that_name()
    return next((field for field, one in kinds.items() if one == kind), "")


def default_of_option(field: str) -> str | None:
    """Return the name of the plugin that a setting below a section, `train.optimizer`, has by
    default; None where it has none."""
    section, _, option = field.partition(".")
    models: dict[str, type[Frozen]] = {"train": Train, "pruner": Pruner}
    default = models[section].model_fields[option].default
    return default if isinstance(default, str) else None


def plugins_of(experiment: Experiment) -> dict[str, Plugin]:
    """The plugins of an experiment but for its metrics, by section, and those that are options
    there, by their dotted names."""
    found = {section: getattr(experiment, section) for section in sections()}
    for field in options_that_name():
        section, _, option = field.partition(".")
        found[field] = getattr(getattr(experiment, section), option)
    return {field: plugin for field, plugin in found.items() if isinstance(plugin, Plugin)}


def changed_options(model: Frozen) -> dict[str, Any]:
    """The options, of a plugin or of training, that are not as they are by default."""
    usual = {name: option.get_default(call_default_factory=True)
             for name, option in type(model).model_fields.items()}
    return {name: value for name, value in model.model_dump().items()
            if name != "name" and (name not in usual or value != usual[name])}

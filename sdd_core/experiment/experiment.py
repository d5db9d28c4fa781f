"""The experiment: a frozen value with everything that decides a result."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, cast

import tomli_w
from pydantic import (
    BeforeValidator,
    Field,
    SerializeAsAny,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from sdd_core.errors import SddError
from sdd_core.experiment.applied_noise import noise_name
from sdd_core.experiment.import_path import ImportedData, ImportedModel
from sdd_core.experiment.python_value import GivenData, GivenModel
from sdd_core.files.reading import LARGEST_SETTINGS, read_bytes
from sdd_core.files.writing import DENSE_WEIGHTS, with_checksum
from sdd_core.level.retraining import LARGEST_RATE
from sdd_core.output.brief import Text, brief
from sdd_core.plugin.discovery import Plugins, load_plugins
from sdd_core.plugin.kinds import (
    KINDS,
    Ablation,
    DataSource,
    Decay,
    Frozen,
    LabelNoise,
    Loss,
    Metric,
    Model,
    NonNegative,
    Optimizer,
    Plugin,
    Positive,
    Pruner,
    Schedule,
    Sparsities,
    label,
)
from sdd_core.plugin.options import Takes, taken

MOST_SHOWN = 6
"""Options that the `repr` of an experiment shows."""

DEFAULTS = {
    "data": "digits",
    "model": "mlp",
    "pruner": "imp",
    "retrain": "rewind",
}
"""The plugins of the default experiment, by section; the label noise is the data's, see
`usual_noise`, and other sections have none."""


def usual_noise(data: type[DataSource] | DataSource, *, asked: bool) -> dict[str, Any]:
    """The label noise of an experiment that does not name one, as a table: what the data's class
    says. `asked`: whether options of label noise are set, as `noise.rate=0.2`. They ask for
    symmetric noise where the data's own is none."""
    usual = data.default_noise
    table = {"name": usual} if isinstance(usual, str) else dict(usual)
    return {"name": "symmetric"} if asked and table["name"] == "none" else table


def default_names(settings: Mapping[str, Any], plugins: Plugins) -> dict[str, str]:
    """The plugins that sections of `settings` have which set options but no name."""
    data = settings.get("data", DEFAULTS["data"])
    name = data.get("name", DEFAULTS["data"]) if isinstance(data, Mapping) else data
    return {**DEFAULTS, "noise": usual_noise(data_class(name, plugins), asked=True)["name"]}


def data_class(name: Any, plugins: Plugins) -> type[DataSource]:
    """The class of the data of that name; the base class for what a user brings."""
    try:
        found = plugins.find("data", name)[0] if isinstance(name, str) else DataSource
    except SddError:  # `module:function`, or unknown, which is said when it is made
        return DataSource
    return cast(type[DataSource], found)


class _Brought(NamedTuple):
    """What stands for that which a user brings: as a value of Python, or as `module:function`."""

    given: type[GivenModel] | type[GivenData]
    imported: type[ImportedModel] | type[ImportedData]


_BROUGHT = {
    "model": _Brought(GivenModel, ImportedModel),
    "data": _Brought(GivenData, ImportedData),
}


def _chosen(kind: str, usual: str | None = None) -> BeforeValidator:
    """A field that takes a plugin, its name, a table with options and, unless it is the default
    one, its name, or, for a model and data, what a user brings. usual: the default one's name,
    where it is not in `DEFAULTS`."""

    def validate(value: Any, info: ValidationInfo) -> Any:
        default = DEFAULTS.get(info.field_name or "", usual)
        plugins = (info.context or {}).get("plugins") or load_plugins()
        if value is None and default is None and kind != "noise":
            return None
        if isinstance(value, Plugin):
            return plugins.complete(value)
        if kind in _BROUGHT and not isinstance(value, str | Mapping):
            return _BROUGHT[kind].given.of(value)
        table = {"name": value} if isinstance(value, str) else value
        if isinstance(table, Mapping) and "name" not in table:
            if kind == "noise":
                data = info.data.get("data", DataSource)  # missing where it is wrong itself
                table = {**usual_noise(data, asked=bool(table)), **table}
            elif default is not None:
                table = {"name": default, **table}
        named = table.get("name") if isinstance(table, Mapping) else None
        name = named if isinstance(named, str) else ""
        prefix, colon, rest = name.partition(":")
        if kind in _BROUGHT and colon:
            options = {key: option for key, option in table.items() if key != "name"}
            if prefix == "given":  # of a run's record; the value itself is gone
                return _BROUGHT[kind].given.model_validate({**options, "what": rest})
            known = {kind, *plugins.shorthands(kind), *(row.distribution for row in plugins.rows)}
            if prefix not in known:
                importing = not (info.context or {}).get("recorded")
                return _BROUGHT[kind].imported.named(name, options, importing=importing)
        try:
            return plugins.make(kind, table)
        except SddError as error:
            raise ValueError(str(error)) from None

    return BeforeValidator(validate)


class Train(Frozen):
    """How the dense network trains, and pruned ones, as far as their schedule leaves it so."""

    epochs: int = Field(default=60, ge=1, le=100_000, description="passes over the training set")
    batch_size: int = Field(default=128, ge=1, description="examples in a batch")
    lr: Positive = Field(default=0.1, le=LARGEST_RATE, description="learning rate at the start")
    optimizer: Annotated[Optimizer, Takes("optimizer"), _chosen("optimizer", "sgd")] = Field(
        default="sgd",
        validate_default=True,
        description="'sgd' with momentum, or another, as torch's AdamW",
    )
    weight_decay: NonNegative = Field(
        default=0.0, le=LARGEST_RATE, description="as the optimizer applies it"
    )
    distance_penalty: NonNegative = Field(
        default=0.0,
        description="lambda in the penalty lambda^2/2 ||w - w_start||^2 on the distance from where "
        "a level starts (an option of the code of He et al., 2022; not in arXiv:2206.08684)",
    )
    norm_penalty: NonNegative = Field(
        default=0.0,
        le=LARGEST_RATE,
        description="lambda in the penalty lambda sum |gamma| on the scales of batch "
        "normalisations (Liu et al., 2017, arXiv:1708.06519, eq. 1)",
    )
    decay: Annotated[Decay, Takes("decay"), _chosen("decay", "steps")] = Field(
        default="steps",
        validate_default=True,
        description="of the learning rate: drops at the milestones, or a half cosine to 0",
    )
    warmup_epochs: NonNegative = Field(
        default=0.0, description="epochs in which the learning rate grows linearly to its start"
    )
    stop_loss: NonNegative | None = Field(
        default=None,
        description="end a level after the epoch with a training loss of at most this; "
        "not given: train all epochs",
    )
    augment: bool = Field(
        default=True, description="use the data set's augmentation, where it has one"
    )
    pretrained: str | None = Field(
        default=None,
        min_length=1,
        description="folder of another run: the dense network starts where that run's dense "
        "network ended, but for a last layer that does not fit",
    )
    pretrained_checksum: str | None = Field(
        default=None,
        description="SHA-256 of that network's weights; not given: of what the folder holds now",
    )

    @model_validator(mode="before")
    @classmethod
    def _with_checksum(cls, settings: Any) -> Any:
        if not isinstance(settings, Mapping) or not settings.get("pretrained"):
            return settings
        folder = settings["pretrained"]
        given = {**settings, "pretrained": str(folder) if isinstance(folder, Path) else folder}
        file = Path(str(folder)).expanduser() / DENSE_WEIGHTS
        return with_checksum(given, "pretrained_checksum", file)

    @model_validator(mode="after")
    def _checksum_of_something(self) -> Train:
        if self.pretrained_checksum is not None and self.pretrained is None:
            raise ValueError("pretrained_checksum is given, but pretrained is not; give the folder "
                             "too, or leave both out")
        return self


class Experiment(Frozen):
    """Everything that decides a result. Equal experiments give equal results.

    A section that names a plugin takes an instance, its name, or a table of its name and options:
    `Experiment(pruner="imp", noise={"name": "symmetric", "rate": 0.2})`. A model may also be a
    torch.nn.Module or a function that makes one, and data a Dataset or a pair of training and
    test data as `Dataset.of` takes them.
    """

    seed: int = Field(default=0, ge=0, lt=2**63, description="of every stream of randomness")
    data: Annotated[SerializeAsAny[DataSource], _chosen("data")] = Field(
        default=DEFAULTS["data"], validate_default=True, description="the data set"
    )
    noise: Annotated[SerializeAsAny[LabelNoise], _chosen("noise")] = Field(
        default_factory=dict,
        validate_default=True,
        description="wrong training labels; not given: what the data set says, which is none for "
        "data of your own; options without a name: symmetric noise",
    )
    model: Annotated[SerializeAsAny[Model], _chosen("model")] = Field(
        default=DEFAULTS["model"], validate_default=True, description="the network"
    )
    train: Train = Field(default_factory=Train, description="how the dense network trains")
    loss: Annotated[SerializeAsAny[Loss] | None, _chosen("loss")] = Field(
        default=None, description="what training minimises; not given: cross-entropy"
    )
    pruner: Annotated[SerializeAsAny[Pruner], _chosen("pruner")] = Field(
        default=DEFAULTS["pruner"], validate_default=True, description="which weights go"
    )
    retrain: Annotated[SerializeAsAny[Schedule], _chosen("schedule")] = Field(
        default=DEFAULTS["retrain"], validate_default=True, description="how a pruned level trains"
    )
    ablation: Annotated[SerializeAsAny[Ablation] | None, _chosen("ablation")] = Field(
        default=None,
        description="what is changed about each pruned level, beside the levels themselves",
    )
    levels: int = Field(
        default_factory=lambda made: _levels_of(made.get("pruner")) or 25,
        ge=0,
        le=10_000,
        description="how often to prune; as many as pruner.sparsity has, where it is given",
    )
    metrics: tuple[Annotated[SerializeAsAny[Metric], _chosen("metric")], ...] | None = Field(
        default=None, description="what to measure; not given: all that is quickly measured"
    )
    engine: Literal["auto", "reference"] = Field(
        default="auto", description="'reference' trains with plain dense arithmetic and masks"
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
        return _without_none(self.model_dump(mode="json", context=context))

    def settings(self) -> dict[str, Any]:
        """Every setting under its dotted name, `train.lr`; a list is text, `300,100`, and a
        section without a plugin has a name that is None."""
        whole = self.model_dump(mode="json")
        for field, plugin in plugins_of(self).items():
            section, dot, option = field.partition(".")
            if dot:  # with its options, those too that are as by default
                whole[section][option] = plugin.model_dump(mode="json")
        return _dotted(whole)

    def to_toml(self) -> str:
        """The experiment as a TOML file that `sdd run` takes."""
        return tomli_w.dumps(self.to_dict())


def _levels_of(pruner: Pruner | None) -> int | None:
    """How many levels a pruner's sparsities are given for, if they are."""
    given = pruner.sparsity if pruner else None
    return given.levels() if isinstance(given, Sparsities) else len(given or ())


def read_toml(path: Path) -> dict[str, Any]:
    """The settings in an experiment file. Raises SddError when it cannot be read."""
    try:
        content = read_bytes(path, LARGEST_SETTINGS)
    except FileNotFoundError:
        raise SddError(f"cannot read experiment file {path}: there is no such file") from None
    return parse_toml(content, path)


def parse_toml(content: bytes, path: Path) -> dict[str, Any]:
    """The settings in the content of an experiment file. Raises SddError when there are none."""
    try:
        return tomllib.loads(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise SddError(f"cannot read experiment file {path}: {error}") from None
    except (ValueError, RecursionError) as error:  # of Python itself: nested too deep, too long
        raise SddError(f"experiment file {path} is not valid TOML: {error}") from None


def override(settings: Mapping[str, Any], changes: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Settings with dotted fields set, `("train.epochs", 30)`. Choosing another plugin for a
    section drops the options of the one before, which are not its own."""
    merged = dict(settings)
    # Names first: `pruner.batches=4` belongs to the pruner that is chosen beside it.
    for field, value in sorted(changes, key=lambda one: (not one[0].endswith(".name"),
                                                         one[0].count("."))):
        section, _, option = field.partition(".")
        merged[section] = (
            _changed(section, merged.get(section, {}), option, value) if option else value
        )
    return merged


def _changed(field: str, value: Any, option: str, new: Any) -> dict[str, Any]:
    """A section, or an option that is a plugin, with an option set. Raises SddError: it is neither
    a name nor a table."""
    if not isinstance(value, str | Mapping):
        raise SddError(f"{field}: expected a name or a table of settings, to set {field}.{option} "
                       f"in, got {_brief(value)}")
    table = {"name": value} if isinstance(value, str) else dict(value)
    first, _, rest = option.partition(".")
    if first == "name" and table.get("name", new) != new:
        return {"name": new}
    before = table.get(first, {})
    if rest:
        return {**table, first: _changed(f"{field}.{first}", before, rest, new)}
    # Choosing an option's plugin once more leaves that plugin's own options as they are.
    same = isinstance(before, Mapping) and before.get("name") == new
    return table if same else {**table, first: new}


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def parse_value(text: str) -> Any:
    """What a value on the command line means: TOML where it is TOML, else the text itself."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def sections() -> dict[str, type[Plugin]]:
    """The sections of an experiment that name one plugin, with the kind each takes."""
    named = {"retrain": "schedule"}
    order = ("data", "noise", "model", "loss", "pruner", "retrain", "ablation")
    return {section: KINDS[named.get(section, section)] for section in order}


def options_that_name() -> dict[str, str]:
    """The settings below a section that take a plugin, `train.optimizer`, and the kind of each."""
    return {f"{section}.{option}": kind
            for section, model in (("train", Train), ("pruner", Pruner))
            for option, kind in taken(model).items()}


def kind_of(field: str) -> str:
    """Return the kind of plugin that a section, or a setting below one, takes."""
    return sections()[field].kind if field in sections() else options_that_name()[field]


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


def first_error(error: ValidationError) -> str:
    """What is wrong with settings, in one line: the first field that is unknown or impossible."""
    # A default that is made from other fields cannot be made when those are wrong.
    errors = [one for one in error.errors() if one["type"] != "default_factory_not_called"]
    first = errors[0]
    field = ".".join(str(part) for part in first["loc"])
    what = first["msg"].removeprefix("Value error, ").replace("valid tuple", "list, such as [1, 2]")
    if first["type"] == "extra_forbidden":
        what = "there is no such setting; `sdd show` and `sdd run --help` list what there is"
    if first["type"] == "missing":
        what = "has to be given"
    said_already = first["type"] in {"value_error", "extra_forbidden", "missing"}
    got = "" if said_already else f" (got {first['input']!r})"
    more = len(errors) - 1
    also = f" (and {more} more)" if more else ""
    return (f"{field}: " if field else "") + what[:1].lower() + what[1:] + got + also


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    return value


def _dotted(nested: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, value in nested.items():
        field = before + name
        if isinstance(value, Mapping):
            fields |= _dotted(value, f"{field}.")
            if before and "name" in value:  # with options or without them, one setting
                fields[field] = fields.pop(f"{field}.name")
        elif isinstance(value, list):
            fields[field] = ",".join(str(one["name"] if isinstance(one, Mapping) else one)
                                     for one in value)
        else:
            # A section without a plugin has no options, and its name is what is missing.
            fields[f"{field}.name" if field in sections() else field] = value
    return fields

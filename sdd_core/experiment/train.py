"""How the dense network trains."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    Field,
    model_validator,
)

from sdd_core.experiment.choice import DEFAULTS, chosen
from sdd_core.files.entries import DENSE_WEIGHTS
from sdd_core.files.reading import with_checksum
from sdd_core.level.retraining import LARGEST_RATE
from sdd_core.plugin.kinds import (
    Frozen,
    LearningRateSchedule,
    NonNegative,
    Optimizer,
    Positive,
)
from sdd_core.plugin.options import PluginRef


class Train(Frozen):
    """How the dense network trains, and pruned ones, as far as their schedule leaves it so."""

    epochs: int = Field(default=60, ge=1, le=100_000, description="passes over the training set")
    batch_size: int = Field(default=128, ge=1, description="examples in a batch")
    lr: Positive = Field(default=0.1, le=LARGEST_RATE, description="learning rate at the start")
    optimizer: Annotated[Optimizer, PluginRef("optimizer"), chosen("optimizer")] = Field(
        default=DEFAULTS["optimizer"],
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
    decay: Annotated[LearningRateSchedule, PluginRef("decay"), chosen("decay")] = Field(
        default=DEFAULTS["decay"],
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

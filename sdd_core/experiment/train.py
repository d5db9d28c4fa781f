"""Settings of training."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, model_validator

from sdd_core.experiment.choice import DEFAULTS, chosen
from sdd_core.files.entries import pretrained_file
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
    """Settings of training, for the dense network and, unless their schedule changes them, for
    pruned levels."""

    epochs: int = Field(
        default=60, ge=0, le=100_000,
        description="passes over the training set; 0: measure the network as it is",
    )
    batch_size: int = Field(default=128, ge=1, description="examples per batch")
    lr: Positive = Field(default=0.1, le=LARGEST_RATE, description="initial learning rate")
    optimizer: Annotated[Optimizer, PluginRef("optimizer"), chosen("optimizer")] = Field(
        default=DEFAULTS["optimizer"],
        validate_default=True,
        description="optimizer: 'sgd' with momentum, or another, such as torch's AdamW",
    )
    weight_decay: NonNegative = Field(
        default=0.0, le=LARGEST_RATE, description="weight decay, as the optimizer applies it"
    )
    distance_penalty: NonNegative = Field(
        default=0.0,
        description="lambda in the penalty lambda^2/2 ||w - w_start||^2 on the distance from the "
        "level's starting weights (an option of the code of He et al., 2022; not in "
        "arXiv:2206.08684)",
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
        description="learning-rate schedule: drops at the milestones, or a half cosine to 0",
    )
    warmup_epochs: NonNegative = Field(
        default=0.0, description="epochs of linear warm-up to the initial learning rate"
    )
    stop_loss: NonNegative | None = Field(
        default=None,
        description="stop a level after the first epoch whose training loss is at most this; "
        "default: train all epochs",
    )
    augment: bool = Field(
        default=True, description="use the data set's augmentation, if it has one"
    )
    pretrained: str | None = Field(
        default=None,
        min_length=1,
        description="weights from which the dense network starts, except for a last layer of "
        "another shape: the folder of another run, of which the dense network is taken, or a file "
        "of weights, .safetensors or .pt",
    )
    pretrained_checksum: str | None = Field(
        default=None,
        description="SHA-256 of those weights; default: that of the current file",
    )

    @model_validator(mode="before")
    @classmethod
    def _with_checksum(cls, settings: Any) -> Any:
        if not isinstance(settings, Mapping) or not settings.get("pretrained"):
            return settings
        folder = settings["pretrained"]
        given = {**settings, "pretrained": str(folder) if isinstance(folder, Path) else folder}
        return with_checksum(given, "pretrained_checksum", pretrained_file(str(folder)))

    @model_validator(mode="after")
    def _checksum_of_something(self) -> Train:
        if self.pretrained_checksum is not None and self.pretrained is None:
            raise ValueError("pretrained_checksum is set, but pretrained is not; set both or "
                             "neither")
        return self

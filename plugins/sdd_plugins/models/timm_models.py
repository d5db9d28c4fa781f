"""Networks of timm, by name."""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict, Field
from torch import nn

from sdd_core import Model, SddError
from sdd_plugins.models.names import nearest


class TimmModel(Model):
    """A network of timm with fresh weights, as `timm:vit_tiny_patch16_224`.

    It is made for the data's number of channels and, where its architecture depends on it, for
    the size of the images. Further options are arguments of `timm.create_model`, such as
    `patch_size` or `drop_path_rate`. Needs `pip install 'sdd[timm]'`.
    """

    name = "timm"
    shorthand = "architecture"
    source = "Wightman (2019), https://github.com/huggingface/pytorch-image-models"
    model_config = ConfigDict(extra="allow")

    architecture: str = Field(description="its name in timm, such as vit_tiny_patch16_224")

    def build(self, input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
        try:
            import timm  # noqa: PLC0415 (takes seconds, and may be missing)
        except ImportError:
            raise SddError(f"model 'timm:{self.architecture}' needs timm, which is not installed; "
                           "pip install 'sdd[timm]'") from None
        if not timm.is_model(self.architecture):
            raise SddError(f"model 'timm:{self.architecture}': timm has no such network; "
                           f"{nearest(self.architecture, timm.list_models())}")
        options: dict[str, Any] = {
            "pretrained": False,
            "num_classes": num_classes,
            "in_chans": input_shape[0],
            **(self.model_extra or {}),
        }
        # Transformers are built for one size of image; convolutions refuse to be told one.
        size = {} if "img_size" in options else {"img_size": tuple(input_shape[1:])}
        try:
            return timm.create_model(self.architecture, **options, **size)
        except TypeError as error:
            if not size or "img_size" not in str(error):
                raise
            return timm.create_model(self.architecture, **options)

"""Networks of torchvision, by name."""

from __future__ import annotations

from pydantic import ConfigDict, Field
from torch import nn

from sdd_core import Model, SddError
from sdd_plugins.models.names import nearest


class TorchvisionModel(Model):
    """A classifier of torchvision.models with fresh weights, as `torchvision:resnet50`.

    Further options are arguments of torchvision's function, such as `norm_layer` or `dropout`.
    """

    name = "torchvision"
    shorthand = "architecture"
    source = "https://pytorch.org/vision/stable/models.html#classification"
    model_config = ConfigDict(extra="allow")

    architecture: str = Field(description="its name in torchvision.models, such as resnet50")

    def build(self, input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
        from torchvision import models  # noqa: PLC0415 (takes seconds)

        names = models.list_models(module=models)
        if self.architecture not in names:
            raise SddError(f"model 'torchvision:{self.architecture}': torchvision.models has no "
                           f"such classifier; {nearest(self.architecture, names)}")
        options = self.model_extra or {}
        return models.get_model(
            self.architecture, weights=None, num_classes=num_classes, **options
        )

"""Base of the convolutional networks."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from torch import nn

from sdd_core import Model, SddError
from sdd_plugins.models.initialisation import NormScale, initialise


class ConvolutionalModel(Model):
    """A network for images of any number of channels, with batch normalisation.

    smallest: the minimum number of pixels on each side of an image.
    """

    smallest: ClassVar[int] = 1

    width: int = Field(default=64, ge=1, description="channels after the first convolution")
    norm_scale: NormScale = Field(
        default="uniform",
        description="initial scales of batch normalisation: random in [0, 1), or 1",
    )

    def build(self, input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
        """Return the network. Raises SddError for inputs that are not images, or too small."""
        if len(input_shape) != 3 or min(input_shape[1:]) < self.smallest:
            raise SddError(
                f"model {self.name!r} takes images [channels, height, width] of at least "
                f"{self.smallest}x{self.smallest} pixels, but the data has {list(input_shape)}; "
                "choose other data, or model 'mlp'"
            )
        network = self.layers(input_shape[0], num_classes)
        initialise(network, self.norm_scale)
        return network

    def layers(self, channels: int, num_classes: int) -> nn.Module:
        """Return the network for images with this number of channels, before initialisation."""
        raise NotImplementedError

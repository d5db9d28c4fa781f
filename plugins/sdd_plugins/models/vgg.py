"""VGG networks for small images."""

from __future__ import annotations

from collections import OrderedDict
from typing import ClassVar

from torch import nn

from sdd_plugins.models.convolutional import ConvolutionalModel


class Vgg16(ConvolutionalModel):
    """VGG-16 for small images: batch normalisation, and one linear layer at the end.

    The five groups of convolutions have 1, 2, 4, 8 and 8 times `width` channels. Their output is
    averaged over all positions; for 32x32 pixels this is the 2x2 average pooling of the paper's
    code. The last layer, `fc`, is not pruned.
    """

    name = "vgg16"
    source = "Simonyan and Zisserman (2015), arXiv 1409.1556, table 1; He et al. (2022), appendix B"

    # Four max-poolings by 2 reduce 16 pixels to one.
    smallest: ClassVar[int] = 16
    convolutions: ClassVar[tuple[int, ...]] = (2, 2, 3, 3, 3)

    def layers(self, channels: int, num_classes: int) -> nn.Module:
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        for group, (count, factor) in enumerate(
            zip(self.convolutions, (1, 2, 4, 8, 8), strict=True), start=1
        ):
            if group > 1:
                layers[f"pool{group - 1}"] = nn.MaxPool2d(2)
            for place in range(1, count + 1):
                outputs = self.width * factor
                layers[f"conv{group}_{place}"] = nn.Conv2d(channels, outputs, 3, padding=1)
                layers[f"bn{group}_{place}"] = nn.BatchNorm2d(outputs)
                layers[f"relu{group}_{place}"] = nn.ReLU(inplace=True)
                channels = outputs
        layers["avgpool"] = nn.AdaptiveAvgPool2d(1)
        layers["flatten"] = nn.Flatten()
        layers["fc"] = nn.Linear(channels, num_classes)
        return nn.Sequential(layers)

    def exempt(self) -> tuple[str, ...]:
        return ("fc",)


class Vgg11(Vgg16):
    """VGG-11 for small images: batch normalisation, and one linear layer at the end."""

    name = "vgg11"
    convolutions: ClassVar[tuple[int, ...]] = (1, 1, 2, 2, 2)


class Vgg13(Vgg16):
    """VGG-13 for small images: batch normalisation, and one linear layer at the end."""

    name = "vgg13"
    convolutions: ClassVar[tuple[int, ...]] = (2, 2, 2, 2, 2)


class Vgg19(Vgg16):
    """VGG-19 for small images: batch normalisation, and one linear layer at the end."""

    name = "vgg19"
    convolutions: ClassVar[tuple[int, ...]] = (2, 2, 4, 4, 4)

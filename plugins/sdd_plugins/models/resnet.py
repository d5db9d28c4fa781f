"""Residual networks for small images, built from torchvision's blocks."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from sdd_plugins.models.convolutional import ConvolutionalModel

if TYPE_CHECKING:
    from torchvision.models.resnet import BasicBlock, Bottleneck

Shortcut = Literal["A", "B"]


class ResNet18(ConvolutionalModel):
    """ResNet-18 for small images: a 3x3 first convolution and no max-pooling.

    Every layer can be pruned, the last one too.
    """

    name = "resnet18"
    source = "He et al. (2016), arXiv 1512.03385, table 1; changes: He et al. (2022), appendix B"

    def layers(self, channels: int, num_classes: int) -> nn.Module:
        from torchvision.models.resnet import BasicBlock  # noqa: PLC0415 (takes seconds)

        return residual(
            BasicBlock, (2, 2, 2, 2), channels=channels, width=self.width, num_classes=num_classes
        )


class TinyImageNetResNet101(ConvolutionalModel):
    """ResNet-101 with the same changes for small images as resnet18.

    Every layer can be pruned, the last one too.
    """

    name = "tiny-imagenet-resnet101"
    source = "He et al. (2016), arXiv 1512.03385, table 1; changes: He et al. (2022), appendix B"

    def layers(self, channels: int, num_classes: int) -> nn.Module:
        from torchvision.models.resnet import Bottleneck  # noqa: PLC0415 (takes seconds)

        return residual(
            Bottleneck, (3, 4, 23, 3), channels=channels, width=self.width, num_classes=num_classes
        )


class ResNet20(ConvolutionalModel):
    """ResNet-20 for CIFAR: three stages of 16, 32 and 64 channels.

    Every layer can be pruned, the last one too.
    """

    name = "resnet20"
    source = "He et al. (2016), arXiv 1512.03385, section 4.2"

    depth: ClassVar[int] = 20

    width: int = Field(default=16, ge=1, description="channels after the first convolution")
    shortcut: Shortcut = Field(
        default="B",
        description="shortcut where a stage changes the size: 'A' takes every second pixel and "
        "adds channels of zeros (the authors' choice on CIFAR), 'B' is a 1x1 convolution with "
        "batch normalisation (usual in pruning papers)",
    )

    def layers(self, channels: int, num_classes: int) -> nn.Module:
        from torchvision.models.resnet import BasicBlock  # noqa: PLC0415 (takes seconds)

        return residual(
            BasicBlock,
            ((self.depth - 2) // 6,) * 3,
            channels=channels,
            width=self.width,
            num_classes=num_classes,
            shortcut=self.shortcut,
        )


class ResNet32(ResNet20):
    """ResNet-32 for CIFAR: three stages of 16, 32 and 64 channels.

    Every layer can be pruned, the last one too.
    """

    name = "resnet32"
    depth: ClassVar[int] = 32


class ResNet56(ResNet20):
    """ResNet-56 for CIFAR: three stages of 16, 32 and 64 channels.

    Every layer can be pruned, the last one too.
    """

    name = "resnet56"
    depth: ClassVar[int] = 56


class PaddedShortcut(nn.Module):
    """A shortcut without parameters: every second pixel, with added channels of zeros (He et al.,
    2016, section 4.1, option A)."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.channels = channels
        self.stride = stride

    def forward(self, images: Tensor) -> Tensor:
        images = images[:, :, :: self.stride, :: self.stride]
        return functional.pad(images, (0, 0, 0, 0, 0, self.channels))


def residual(
    block: type[BasicBlock | Bottleneck],
    depths: Sequence[int],
    *,
    channels: int,
    width: int,
    num_classes: int,
    shortcut: Shortcut = "B",
) -> nn.Sequential:
    """Return a network of stages with `depths` blocks. Each stage after the first has half the
    pixels per side and twice the channels of the one before. Layers have torchvision's names."""
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=nn.Conv2d(channels, width, 3, padding=1, bias=False),
        bn1=nn.BatchNorm2d(width),
        relu=nn.ReLU(inplace=True),
    )
    inputs = width
    for stage, depth in enumerate(depths):
        planes = width << stage
        outputs = planes * block.expansion
        blocks: list[nn.Module] = []
        for position in range(depth):
            stride = 2 if stage > 0 and position == 0 else 1
            change = None
            if stride > 1 or inputs != outputs:
                change = _change(inputs, outputs, stride, shortcut)
            blocks.append(block(inputs, planes, stride, change))
            inputs = outputs
        layers[f"layer{stage + 1}"] = nn.Sequential(*blocks)
    layers["avgpool"] = nn.AdaptiveAvgPool2d(1)
    layers["flatten"] = nn.Flatten()
    layers["fc"] = nn.Linear(inputs, num_classes)
    return nn.Sequential(layers)


def _change(inputs: int, outputs: int, stride: int, shortcut: Shortcut) -> nn.Module:
    if shortcut == "A":
        return PaddedShortcut(outputs - inputs, stride)
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

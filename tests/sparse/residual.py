"""A small ResNet in torch and masked training steps for it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        y += self.shortcut(x)
        return functional.relu(y)


class ResNet(nn.Module):
    def __init__(self, widths: tuple[int, ...] = (6, 8, 12), blocks: int = 2) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, widths[0], 3, 1, 1, bias=False)
        self.bn = nn.BatchNorm2d(widths[0])
        inputs, parts = widths[0], []
        for stage, outputs in enumerate(widths):
            for block in range(blocks):
                parts.append(Block(inputs, outputs, 2 if stage and not block else 1))
                inputs = outputs
        self.blocks = nn.Sequential(*parts)
        self.linear = nn.Linear(inputs, 5)

    def forward(self, x: Tensor) -> Tensor:
        y = self.blocks(functional.relu(self.bn(self.conv(x))))
        return self.linear(functional.adaptive_avg_pool2d(y, 1).flatten(1))


def masks_of(model: nn.Module, density: float, seed: int) -> dict[Tensor, Tensor]:
    """Random masks of the convolutions' and the linear layer's weights, applied to them."""
    random = torch.Generator().manual_seed(seed)
    masks: dict[Tensor, Tensor] = {}
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1:
            kept = max(density, 0.8) if name == "linear.weight" else density
            masks[parameter] = torch.rand(parameter.shape, generator=random) < kept
            parameter.data *= masks[parameter]
    return masks


def train(
    model: nn.Module,
    masks: dict[Tensor, Tensor],
    optimizer: torch.optim.SGD,
    images: Tensor,
    labels: Tensor,
    *,
    batch_size: int,
) -> float:
    """One dense-masked pass over the images in order; the mean loss."""
    model.train()
    total = 0.0
    for batch, answers in zip(images.split(batch_size), labels.split(batch_size), strict=True):
        loss = functional.cross_entropy(model(batch), answers)
        optimizer.zero_grad()
        loss.backward()
        for parameter, mask in masks.items():
            assert parameter.grad is not None
            parameter.grad.mul_(mask)
        optimizer.step()
        total += loss.item() * len(batch)
    return total / len(images)

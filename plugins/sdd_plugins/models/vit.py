"""Vision transformers for small images."""

from __future__ import annotations

from collections import OrderedDict

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from sdd_core import Model, SddError


class VisionTransformer(Model):
    """A vision transformer for images of any size and number of channels.

    It has patches, a class token and learnt positions; blocks are pre-norm. All weight matrices can
    be pruned: the patch embedding, the four projections of each attention, the two layers of each
    perceptron and the last layer. The class token, positions, biases and normalisations are never
    pruned. It is usually trained with `train.optimizer=AdamW`, `train.decay=cosine` and a warm-up.
    """

    name = "vit"
    source = "Dosovitskiy et al. (2021), arXiv 2010.11929, section 3.1"

    patch: int = Field(default=4, ge=1, description="pixels on each side of a patch")
    depth: int = Field(default=6, ge=1, description="number of blocks")
    width: int = Field(default=192, ge=1, description="embedding dimension")
    heads: int = Field(default=6, ge=1, description="number of attention heads; must divide width")
    mlp_ratio: int = Field(
        default=4, ge=1, description="hidden units of each perceptron, as a multiple of width"
    )
    dropout: float = Field(
        default=0.0, ge=0, lt=1, description="dropout rate after each layer of a block"
    )

    @model_validator(mode="after")
    def _heads_share(self) -> VisionTransformer:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}")
        return self

    def build(self, input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
        """Return the network. Raises SddError for inputs that are not images, or whose sides are
        not multiples of the patch."""
        if len(input_shape) != 3 or any(size % self.patch for size in input_shape[1:]):
            raise SddError(
                f"model 'vit' takes images [channels, height, width] whose sides are multiples of "
                f"model.patch, {self.patch}, but the data has {list(input_shape)}; choose another "
                "patch, or model 'mlp'"
            )
        channels, height, width = input_shape
        patches = (height // self.patch) * (width // self.patch)
        blocks = [
            _Block(self.width, self.heads, self.mlp_ratio * self.width, self.dropout)
            for _ in range(self.depth)
        ]
        return nn.Sequential(
            OrderedDict(
                embedding=nn.Conv2d(channels, self.width, self.patch, stride=self.patch),
                tokens=_Tokens(patches, self.width),
                blocks=nn.Sequential(*blocks),
                norm=nn.LayerNorm(self.width),
                class_token=_First(),
                output=nn.Linear(self.width, num_classes),
            )
        )


class _Tokens(nn.Module):
    """Patches `[N, width, h, w]` as a sequence `[N, 1 + h w, width]` behind the class token."""

    def __init__(self, patches: int, width: int) -> None:
        super().__init__()
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = nn.Parameter(torch.empty(1, 1 + patches, width))
        nn.init.normal_(self.positions, std=0.02)

    def forward(self, patches: Tensor) -> Tensor:
        sequence = patches.flatten(2).transpose(1, 2)
        first = self.class_token.expand(sequence.shape[0], -1, -1)
        return torch.cat([first, sequence], 1) + self.positions


class _First(nn.Module):
    """The first of a sequence."""

    def forward(self, sequence: Tensor) -> Tensor:
        return sequence[:, 0]


class _Block(nn.Module):
    def __init__(self, width: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = _Attention(width, heads)
        self.mlp = nn.Sequential(
            OrderedDict(
                hidden=nn.Linear(width, hidden),
                gelu=nn.GELU(),
                dropout=nn.Dropout(dropout),
                output=nn.Linear(hidden, width),
            )
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, sequence: Tensor) -> Tensor:
        sequence = sequence + self.dropout(self.attention(self.norm1(sequence)))
        return sequence + self.dropout(self.mlp(self.norm2(sequence)))


class _Attention(nn.Module):
    """Self-attention of several heads, each projection a layer of its own, written out."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.output = nn.Linear(width, width)

    def forward(self, sequence: Tensor) -> Tensor:
        query, key, value = (
            projection(sequence).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for projection in (self.query, self.key, self.value)
        )  # [N, heads, length, width / heads]
        scores = query @ key.transpose(2, 3) / query.shape[-1] ** 0.5
        return self.output((scores.softmax(-1) @ value).transpose(1, 2).flatten(2))

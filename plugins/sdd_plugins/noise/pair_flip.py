"""Pair-flip label noise: classes become the next class."""

import torch
from torch import Tensor

from sdd_core import Dataset, LabelNoise
from sdd_plugins.noise.flipping import flip


class PairFlip(LabelNoise):
    """In each class a fraction of the labels becomes the next class, the last one the first.

    Exactly `round(rate * n)` of the `n` labels of each class are flipped. With the same generator
    a higher rate keeps the wrong labels of a lower rate and adds others.
    """

    name = "pair-flip"
    source = "He et al. (2022), appendix A.3; Han et al. (2018), Co-teaching, arXiv 1804.06872"

    def corrupt(self, labels: Tensor, data: Dataset, generator: torch.Generator) -> Tensor:
        classes = data.num_classes
        following = {true: (true + 1) % classes for true in range(classes)}
        return flip(labels, following, self.rate, generator)

"""Symmetric label noise: random labels."""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from sdd_core import Dataset, LabelNoise


class Symmetric(LabelNoise):
    """A fraction of the training labels is replaced by random classes, all equally likely.

    Exactly `round(rate * N)` labels are drawn. Two definitions are in use:
    - `all`: from all classes, so that about one in `num_classes` of the drawn labels stays correct.
      The paper's published commands use it. This is the default.
    - `others`: from the other classes, so that all drawn labels are wrong, as in the literature
      on learning with noisy labels.

    With the same generator a higher rate keeps the wrong labels of a lower rate and adds others.
    """

    name = "symmetric"
    source = (
        "He et al. (2022), appendix A.3; 'all': Zhang et al. (2017), arXiv 1611.03530; "
        "'others': Patrini et al. (2017), arXiv 1609.03683"
    )

    among: Literal["all", "others"] = Field(
        default="all", description="classes to draw from: all, or all except the true one"
    )

    def corrupt(self, labels: Tensor, data: Dataset, generator: torch.Generator) -> Tensor:
        count = len(labels)
        # Draw for every label, whatever the rate, so that rates are comparable.
        order = torch.randperm(count, generator=generator)
        if self.among == "all":
            drawn = torch.randint(data.num_classes, (count,), generator=generator)
        else:
            steps = torch.randint(1, data.num_classes, (count,), generator=generator)
            drawn = (labels + steps) % data.num_classes
        chosen = order[: round(self.rate * count)]
        noisy = labels.clone()
        noisy[chosen] = drawn[chosen]
        return noisy

"""Asymmetric label noise: classes become similar classes."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor

from sdd_core import Dataset, LabelNoise, SddError
from sdd_plugins.noise.flipping import flip


class Asymmetric(LabelNoise):
    """In each class a fraction of the labels becomes a similar class.

    The data set defines the similar class, unless `pairs` does: for MNIST 2 -> 7, 3 -> 8, 5 <-> 6;
    for Fashion-MNIST T-shirt -> shirt, pullover -> coat, sandal <-> sneaker; for CIFAR-10 bird ->
    airplane, deer -> horse, truck -> automobile, cat <-> dog; for CIFAR-100 the next class within
    the superclass, and the first one for the last.

    Exactly `round(rate * n)` of the `n` labels of each such class are flipped. Other classes are
    not changed, so fewer than `rate` of all labels may be wrong. With the same generator a higher
    rate keeps the wrong labels of a lower rate and adds others.

    In the authors' code the next class of CIFAR-100 is the next by number within five consecutive
    numbers, which are not a superclass; this plugin follows the paper's text.
    """

    name = "asymmetric"
    source = "He et al. (2022), appendix A.3; Patrini et al. (2017), arXiv 1609.03683"

    pairs: dict[int, int] | None = Field(
        default=None, description="similar class of each class; default: those of the data set"
    )

    def corrupt(self, labels: Tensor, data: Dataset, generator: torch.Generator) -> Tensor:
        """Return noisy labels. Raises SddError if the similar classes are unknown, or if `pairs`
        names a class that the data set does not have."""
        return flip(labels, self._target(data), self.rate, generator)

    def _target(self, data: Dataset) -> Mapping[int, int]:
        if self.pairs is not None:
            named = {*self.pairs, *self.pairs.values()}
            strange = sorted(named - set(range(data.num_classes)))
            if strange:
                raise SddError(
                    f"noise.pairs: data {data.name!r} has no class {strange[0]}; its classes are "
                    f"0 to {data.num_classes - 1}"
                )
            return self.pairs
        if data.confusions:
            return data.confusions
        if data.superclasses:
            return next_in_superclass(data.superclasses)
        raise SddError(
            f"asymmetric noise does not know which classes of data {data.name!r} are similar; "
            "set noise.pairs, for example {2 = 7, 3 = 8}, or use digits, mnist, fashion-mnist, "
            "cifar10 or cifar100"
        )


def next_in_superclass(superclasses: tuple[int, ...]) -> dict[int, int]:
    """Return for each class the next one by number in its superclass; for the last, the first."""
    members: dict[int, list[int]] = {}
    for number, superclass in enumerate(superclasses):
        members.setdefault(superclass, []).append(number)
    return {
        number: group[(place + 1) % len(group)]
        for group in members.values()
        for place, number in enumerate(group)
    }

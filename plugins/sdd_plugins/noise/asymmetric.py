"""Classes are taken for the ones they look like."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor

from sdd_core import Dataset, LabelNoise, SddError
from sdd_plugins.noise.flipping import flip


class Asymmetric(LabelNoise):
    """In each class a fraction of the labels becomes a similar class.

    Which one, the data set says: for MNIST 2 -> 7, 3 -> 8, 5 <-> 6; for Fashion-MNIST T-shirt ->
    shirt, pullover -> coat, sandal <-> sneaker; for CIFAR-10 bird -> airplane, deer -> horse,
    truck -> automobile, cat <-> dog; for CIFAR-100, whose classes belong to superclasses, the next
    class within the superclass, the last one becoming the first. Or `pairs` says it.

    Exactly `round(rate * n)` of the `n` labels of each such class are flipped; other classes stay
    as they are, so that fewer than `rate` of all labels may be wrong. With the same generator a
    higher rate keeps the wrong labels of a lower one and adds others.

    In the authors' code "the next class" of CIFAR-100 is the next by number within five
    consecutive numbers, which are not a superclass; here it is as the paper describes it.
    """

    name = "asymmetric"
    source = "He et al. (2022), appendix A.3; Patrini et al. (2017), arXiv 1609.03683"

    pairs: dict[int, int] | None = Field(
        default=None, description="what each class is taken for; not given: what the data set says"
    )

    def corrupt(self, labels: Tensor, data: Dataset, generator: torch.Generator) -> Tensor:
        """Raises SddError when nothing says which classes are similar, or `pairs` names a class
        that the data set doesn't have."""
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
            "give noise.pairs, as in {2 = 7, 3 = 8}, or use digits, mnist, fashion-mnist, cifar10 "
            "or cifar100"
        )


def next_in_superclass(superclasses: tuple[int, ...]) -> dict[int, int]:
    """For each class the next one by number in its superclass, for the last one the first."""
    members: dict[int, list[int]] = {}
    for number, superclass in enumerate(superclasses):
        members.setdefault(superclass, []).append(number)
    return {
        number: group[(place + 1) % len(group)]
        for group in members.values()
        for place, number in enumerate(group)
    }

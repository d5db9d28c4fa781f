from collections.abc import Mapping
from typing import Any

from torch import Tensor

from sdd_core import LevelView, Metric


class Memorisation(Metric):
    """Training accuracy on examples with right labels and, apart, on those with wrong labels.

    On the mislabelled examples, agreement with the wrong label is memorisation, and agreement
    with the true label is generalisation in spite of it. All are None for a level that diverged,
    and those on mislabelled examples where there are none.
    """

    name = "memorisation"
    source = "Arpit et al., 2017, arXiv:1706.05394; He et al., 2022, arXiv:2206.08684"

    def measure(self, level: LevelView) -> Mapping[str, Any]:
        names = (
            "train_accuracy_clean",
            "train_accuracy_mislabelled",
            "true_label_accuracy_mislabelled",
        )
        if level.diverged:
            return dict.fromkeys(names)
        train = level.data.train
        wrong = train.mislabelled
        said = level.train_logits.argmax(1)
        given, true = said == train.labels, said == train.true_labels
        shares = (_share(given[~wrong]), _share(given[wrong]), _share(true[wrong]))
        return dict(zip(names, shares, strict=True))


def _share(hits: Tensor) -> float | None:
    return hits.double().mean().item() if len(hits) else None

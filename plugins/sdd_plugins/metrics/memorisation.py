from collections.abc import Mapping
from typing import Any

from torch import Tensor

from sdd_core import LevelView, Metric


class Memorisation(Metric):
    """Training accuracy, separately on examples with correct labels and with wrong labels.

    On mislabelled examples, agreement with the wrong label is memorisation; agreement with the true
    label is generalisation despite it. All are None for a level that diverged; values on
    mislabelled examples are None if there are none.
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
        predicted = level.train_logits.argmax(1)
        fits, true = predicted == train.labels, predicted == train.true_labels
        shares = (_share(fits[~wrong]), _share(fits[wrong]), _share(true[wrong]))
        return dict(zip(names, shares, strict=True))


def _share(hits: Tensor) -> float | None:
    return hits.double().mean().item() if len(hits) else None

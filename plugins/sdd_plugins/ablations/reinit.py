from dataclasses import replace

import numpy as np

from sdd_core import Ablation, Dense, Retraining


class Reinit(Ablation):
    """Re-initialisation: the level's mask on a fresh initialisation, with the full schedule.

    The baseline for a lottery ticket. Unlike with the schedule `scratch`, the masks are those of
    the run itself, found with the ticket's weights.
    """

    name = "reinit"
    source = (
        "Frankle & Carbin, 2019, arXiv:1803.03635, sec. 2; "
        "He et al., 2022, arXiv:2206.08684, sec. 4"
    )

    def retraining(self, dense: Dense, retraining: Retraining, level: int) -> Retraining:
        rates = np.asarray(dense.learning_rates)
        return replace(retraining, start="fresh", learning_rates=rates, first_step=0)

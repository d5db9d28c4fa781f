from sdd_core import Dense, Retraining, Schedule


class LrRewind(Schedule):
    """Learning-rate rewinding: continue from the pruned level's weights, with the full schedule."""

    name = "lr-rewind"
    source = "Renda et al., 2020, arXiv:2003.02389, sec. 3"

    def retraining(self, dense: Dense) -> Retraining:
        return Retraining("previous", dense.learning_rates)

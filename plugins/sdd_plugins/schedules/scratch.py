from sdd_core import Dense, Retraining, Schedule


class Scratch(Schedule):
    """Training from scratch: a fresh initialisation at every level, with the full schedule.

    The baseline for a lottery ticket: without the ticket's initial weights.
    """

    name = "scratch"
    source = "Liu et al., 2019, arXiv:1810.05270; He et al., 2022, arXiv:2206.08684, appendix A.2"

    def retraining(self, dense: Dense) -> Retraining:
        return Retraining("fresh", dense.learning_rates)

from pydantic import Field

from sdd_core import SddError, SparsitySchedule


class Curve(SparsitySchedule):
    """A curve from 0 at the dense network to a sparsity at the last level."""

    to: float = Field(default=0.95, gt=0, lt=1, description="sparsity of the last level")
    over: int = Field(default=10, ge=1, le=10_000, description="number of levels")

    def sparsity(self, level: int) -> float:
        if level > self.over:
            raise SddError(f"pruner.sparsity {self.name!r} has {self.over} levels, but levels is "
                           f"more; set levels to {self.over}, or increase pruner.sparsity.over")
        return self.to if level == self.over else self.at(level / self.over)

    def levels(self) -> int:
        return self.over

    def at(self, share: float) -> float:
        """Return the sparsity after a fraction `share` of the levels, between 0 and 1."""
        raise NotImplementedError


class Linear(Curve):
    """Each level prunes the same number of weights."""

    name = "linear"

    def at(self, share: float) -> float:
        return self.to * share


class Geometric(Curve):
    """Each level prunes the same fraction of the remaining weights, like `pruner.fraction`."""

    name = "geometric"
    source = "Frankle & Carbin, 2019, arXiv:1803.03635, sec. 2"

    def at(self, share: float) -> float:
        return float(1 - (1 - self.to) ** share)


class Cubic(Curve):
    """The first levels prune many weights, the last ones few: s = s_f (1 - (1 - t)^3)."""

    name = "cubic"
    source = "Zhu & Gupta, 2017, arXiv:1710.01878, eq. 1"

    def at(self, share: float) -> float:
        return self.to * (1 - (1 - share) ** 3)

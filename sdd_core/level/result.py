"""Results of a level."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from sdd_core.errors import SddError
from sdd_core.output.text import percent

if TYPE_CHECKING:
    from torch import Tensor, nn

COST = ("parameters", "kept_parameters", "dense_macs", "kept_macs", "dense_bytes", "packed_bytes",
        "zipped_bytes")
"""The values of the metric `cost`."""


class Stored(Protocol):
    """The stored network of a level; see `sdd_core.runs.stored_level`."""

    def network(self) -> nn.Module: ...
    def state_dict(self) -> dict[str, Tensor]: ...
    def masks(self) -> Mapping[str, Tensor]: ...


@dataclass(frozen=True)
class LevelResult:
    """The values measured on a level, and its network.

    sparsity, density: fractions of pruned and kept weights, over the layers that may be pruned.
    metrics: by name, floats, integers, None (no value), or mappings from layer to float.
    epochs: the values after each epoch, oldest first, as in `sdd_core.level.level.Epoch`.

    The network, its weights and its masks are read from the run's folder at each use, without the
    data. They are those that the metrics were measured on: under an ablation, the ablated ones.
    """

    level: int
    key: str
    sparsity: float
    density: float
    diverged: bool
    metrics: Mapping[str, Any]
    epochs: tuple[Mapping[str, Any], ...] = ()
    stored: Stored | None = field(default=None, repr=False, compare=False)

    def __repr__(self) -> str:
        values = {name: value for name, value in self.metrics.items()
                  if isinstance(value, int | float)}
        shown = [f"{name} {value:.4g}" for name, value in list(values.items())[:2]]
        if len(self.metrics) > len(shown):
            shown.append(f"and {len(self.metrics) - len(shown)} more metrics")
        diverged = ["diverged"] if self.diverged else []
        parts = [f"{percent(self.sparsity)} sparse", *diverged, *shown]
        return f"<LevelResult {self.level}: {', '.join(parts)}>"

    def number(self, metric: str) -> float:
        """Return a metric as a float; NaN if it was not measured or is not a number. The value of
        one layer is `sparsity_by_layer/hidden1.weight`."""
        value = self.metrics.get(metric)
        if value is None and "/" in metric:
            name, _, layer = metric.partition("/")
            by_layer = self.metrics.get(name)
            value = by_layer.get(layer) if isinstance(by_layer, Mapping) else None
        return float(value) if isinstance(value, int | float) else math.nan

    def network(self) -> nn.Module:
        """Return a new copy of the level's network: the plain module, without masks, on the CPU, in
        evaluation mode.

        Pruned weights are exactly zero. Where the retraining schedule holds them at other values,
        or an ablation trains them again, they have those values, which the metrics were measured
        with. Weight and spectral norms for which torch computes NaN, because all weights of a row
        are pruned, are replaced by subclasses that return zeros.

        Raises SddError if the level diverged, its files are damaged, or the network cannot be made:
        it was passed in Python and is gone, or its module has changed (see `sdd_core.load_run`).
        """
        return self._trained().network()

    def state_dict(self) -> dict[str, Tensor]:
        """Return the state of the network, on the CPU, which loads strictly into the plain module.
        The network itself is not made. Raises SddError as `network` does."""
        return self._trained().state_dict()

    @property
    def masks(self) -> dict[str, Tensor]:
        """bool, True where a weight is kept, in the shape of the weight, for every prunable weight,
        including exempt ones."""
        return dict(self._stored().masks())

    @property
    def cost(self) -> dict[str, Any]:
        """The values of the metric `cost`, by name; empty if it was not measured."""
        return {name: self.metrics[name] for name in COST if name in self.metrics}

    def _trained(self) -> Stored:
        if self.diverged:
            raise SddError(f"level {self.level} diverged, so it has no trained network; choose "
                           "another level")
        return self._stored()

    def _stored(self) -> Stored:
        if self.stored is None:
            raise SddError(f"the network of level {self.level} is not known here; "
                           "sdd_core.load_run(folder) returns levels with networks")
        return self.stored

"""What is measured on a level."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from sdd_core.plugin.base import (  # noqa: F401 (they belong to the kinds below)
    AddedLater,
    Fraction,
    Frozen,
    NonNegative,
    Plugin,
    Positive,
    label,
)

if TYPE_CHECKING:


    from sdd_core.level.level import LevelView


class Metric(Plugin):
    """A number, several, or a number for each layer, measured on a trained level.

    default: measured where an experiment does not say which metrics it wants; False for those
        that take long.
    """

    kind: ClassVar[str] = "metric"
    hook: ClassVar[str] = "sdd_metrics"
    title: ClassVar[str] = "Metrics"
    default: ClassVar[bool] = True

    def measure(self, level: LevelView) -> Mapping[str, Any]:
        """Named values: floats, integers, None, or a mapping from layer to float."""
        raise NotImplementedError

"""Metrics: values measured on a level."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from sdd_core.plugin.base import Plugin

if TYPE_CHECKING:
    from sdd_core.level.level import LevelView


class Metric(Plugin):
    """One or more numbers, or a number for each layer, measured on a trained level.

    default: True if an experiment that sets no metrics measures it; False for slow metrics.
    reproducible: False if equal levels may have other values, as times have.
    """

    kind: ClassVar[str] = "metric"
    hook: ClassVar[str] = "sdd_metrics"
    title: ClassVar[str] = "Metrics"
    default: ClassVar[bool] = True
    reproducible: ClassVar[bool] = True

    def measure(self, level: LevelView) -> Mapping[str, Any]:
        """Return values by name: floats, integers, None, texts, or mappings from layer to float."""
        raise NotImplementedError

"""Where images and labels come from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

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


    from sdd_core.data.dataset import Dataset


class DataSource(Plugin):
    """Where images and labels come from.

    default_noise: the label noise of an experiment that does not ask for any: a name, or a table
        of a name and options. What users bring keeps its labels; a benchmark may have them redrawn.
    """

    kind: ClassVar[str] = "data"
    hook: ClassVar[str] = "sdd_data_sources"
    title: ClassVar[str] = "Data"
    default_noise: ClassVar[str | Mapping[str, Any]] = "none"

    examples: int | None = Field(
        default=None,
        ge=1,
        description="train on so many examples, drawn after the label noise and independently "
        "of it; not given: all",
    )

    def load(self, root: Path | None) -> Dataset:
        """The data, on the CPU. `root` is the folder of `--data-root`, or None where none was
        given. Raises SddError when files are missing or damaged."""
        raise NotImplementedError

"""Data sources: images and labels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from sdd_core.plugin.base import Plugin

if TYPE_CHECKING:
    from sdd_core.data.dataset import Dataset


class DataSource(Plugin):
    """A source of images and labels.

    default_noise: the label noise of an experiment that sets none: a name, or a table of a name and
        options. The base class sets none, so that the labels of user data stay unchanged.
    """

    kind: ClassVar[str] = "data"
    hook: ClassVar[str] = "sdd_data_sources"
    title: ClassVar[str] = "Data"
    default_noise: ClassVar[str | Mapping[str, Any]] = "none"

    examples: int | None = Field(
        default=None,
        ge=1,
        description="number of training examples, drawn after the label noise and independently "
        "of it; default: all",
    )

    def load(self, root: Path | None) -> Dataset:
        """Return the data, on the CPU. `root` is the folder of `--data-root`, or None if it is not
        set. Raises SddError if files are missing or damaged."""
        raise NotImplementedError

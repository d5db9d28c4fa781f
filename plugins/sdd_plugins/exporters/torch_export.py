"""Programs of torch.export."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from sdd_core import Exportable, Exporter
from sdd_plugins.exporters.tracing import load_program, save_program, traced


class TorchExport(Exporter):
    """A program of torch.export, which runs without the source of the network.

    `torch.export.load(path).module()` takes batches of any size. The archive's extra file
    `sdd.json` is the description of the level. Pruned weights are stored as zeros.
    """

    name = "torch-export"
    source = "https://docs.pytorch.org/docs/stable/export.html"
    suffix = ".pt2"

    def write(self, source: Exportable, path: Path) -> Mapping[str, Any]:
        save_program(traced(source.network, source.example), source, path)
        return {}

    def load(self, path: Path, source: Exportable) -> Callable[[Tensor], Tensor]:
        return load_program(path)

"""Programs of torch.export."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sdd_core import Exportable, Exporter
from sdd_plugins.exporters.tracing import quiet, traced


class TorchExport(Exporter):
    """A program of torch.export, which runs without the source of the network.

    `torch.export.load(path).module()` takes batches of any size. The archive's extra file
    `sdd.json` is the description of the level. Pruned weights are stored as zeros.
    """

    name = "torch-export"
    source = "https://docs.pytorch.org/docs/stable/export.html"
    suffix = ".pt2"

    def write(self, source: Exportable, path: Path) -> Mapping[str, Any]:
        program = traced(source.network, source.example)
        # A file object, because torch warns about file names with another ending.
        with quiet(), path.open("wb") as file:
            torch.export.save(program, file,
                              extra_files={"sdd.json": json.dumps(dict(source.description))})
        return {}

    def load(self, path: Path, source: Exportable) -> Callable[[Tensor], Tensor]:
        with quiet(), path.open("rb") as file:
            return torch.export.load(file).module()

"""Keep the cells of a sensitivity on disk, so that an interrupted measurement goes on.

`<store>/.shared/sensitivity/<key>.jsonl` has one line for each cell, with a checksum. Damaged lines
are ignored: their cells are measured again.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from sdd_core.files.atomic import append_line, disk_errors
from sdd_core.files.reading import Damaged, read_bytes, seal, unseal
from sdd_core.layerwise.sensitivity import Cell

_CELL = TypeAdapter(Cell)


class Cells:
    """The cells under one key. The caller holds a lock."""

    def __init__(self, store: Path, key: str) -> None:
        """Read the cells that are there. Raises SddError where the file cannot be read."""
        self._key = key
        self._file = store / ".shared" / "sensitivity" / f"{key}.jsonl"
        with disk_errors(self._file):
            self._file.parent.mkdir(parents=True, exist_ok=True)
        self.known: dict[tuple[str, float], Cell] = {}
        with suppress(FileNotFoundError):
            for line in read_bytes(self._file).split(b"\n"):
                with suppress(Damaged, ValidationError):
                    text, sealed = unseal(line, key)
                    cell = _CELL.validate_json(text)
                    if sealed:
                        self.known[cell.layer, cell.sparsity] = cell

    def add(self, cell: Cell) -> None:
        """Keep a cell. Raises SddError, for example for a full disk."""
        append_line(self._file, seal(asdict(cell), self._key))
        self.known[cell.layer, cell.sparsity] = cell

"""Read `level.json`, the record of a level: which it is, and what trained it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from sdd_core.files.reading import read_bytes

LEVEL_RECORD = "level.json"

GENERAL = "general"
"""What a level without kernels of its own was trained with: torch's operations on whole layers."""


class LevelRecord(BaseModel):
    """`level.json`.

    kernels: the kernel of each layer, `sparse` or `dense`, or `NAME=sparse` where torch trained the
    network but for single layers; none if torch trained all. moved: the number of weights that
    regrew; None if masks did not move. instructions: the vector instructions that were used, such
    as avx2, or the kind of GPU; '' in older stores, and for a level without training.
    """

    model_config = ConfigDict(strict=True, frozen=True)

    key: str
    level: int
    diverged: bool
    kernels: list[str]
    moved: int | None = None
    instructions: str = ""

    @property
    def trained_with(self) -> str:
        """The kinds of kernels in a word or two: `general`, `dense`, `sparse` or `dense+sparse`;
        `general+sparse` where torch trained the network but for single layers."""
        if any("=" in kernel for kernel in self.kernels):
            single = any(kernel.endswith("=sparse") for kernel in self.kernels)
            return f"{GENERAL}+sparse" if single else GENERAL
        return "+".join(sorted(set(self.kernels))) or GENERAL


def read_level_record(folder: Path) -> LevelRecord:
    """Return the record in a folder of a level. Raises FileNotFoundError, ValueError for another
    content, and SddError where it cannot be read."""
    return LevelRecord.model_validate_json(read_bytes(folder / LEVEL_RECORD))


def trained_with(records: Sequence[LevelRecord | None]) -> str:
    """Return what trained the levels of a run in a few words: `general 0, sparse 1-25; avx2`.
    None: it is not known of that level."""
    spans: list[tuple[str, int, int]] = []
    for record in records:
        if record is None:
            continue
        kind, level = record.trained_with, record.level
        if spans and spans[-1][0] == kind and spans[-1][2] == level - 1:
            spans[-1] = kind, spans[-1][1], level
        else:
            spans.append((kind, level, level))
    parts = [f"{kind} {first}" if first == last else f"{kind} {first}-{last}"
             for kind, first, last in spans]
    sets = Counter(record.instructions for record in records if record and record.instructions)
    return "; ".join(filter(None, [", ".join(parts), ", ".join(sets)]))

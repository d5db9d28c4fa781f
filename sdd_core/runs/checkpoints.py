"""Save and load checkpoints of levels that are being trained, one file each."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from safetensors.torch import save
from torch import Tensor

from sdd_core.files.atomic import write_atomic
from sdd_core.files.reading import LARGEST_TENSORS, names_in, read_bytes
from sdd_core.level.checkpoint import Checkpoint, Moved
from sdd_core.runs.level_files import content_errors, read_tensors
from sdd_core.runs.rows import EPOCHS


class Checkpoints:
    """The checkpoints of all levels of a store, by the level's key."""

    def __init__(self, folder: Path, set_aside: Callable[[Path, str, str], None]) -> None:
        """set_aside: moves a damaged file away, given its path, its name and the reason."""
        self._folder = folder
        self._set_aside = set_aside

    def load(self, key: str) -> Checkpoint | None:
        """Return the latest undamaged checkpoint of a level, or None. Set damaged ones aside.

        Raises SddError when a checkpoint cannot be read.
        """
        for taken, file in self._files(key):
            try:
                content = read_bytes(file, LARGEST_TENSORS)
            except FileNotFoundError:
                continue
            if hashlib.sha256(content).hexdigest()[:16] != file.stem.rpartition("-")[2]:
                reason = "its checksum does not match its content"
                self._set_aside(file, f"checkpoint {file.name}", reason)
                continue
            tensors, record = read_tensors(file)
            parts: dict[str, dict[str, Tensor]] = {part: {} for part in _PARTS}
            with content_errors(file):
                for name, tensor in tensors.items():
                    part, _, rest = name.partition("/")
                    parts[part][rest] = tensor
                epochs = EPOCHS.validate_json(record["epochs"])
                kernels = _KERNELS.validate_json(record["kernels"])
                moved = None
                if "moved" in record:
                    count = _COUNT.validate_json(record["moved"])
                    moved = Moved(parts["masks"], parts["memory"], count)
            return Checkpoint(taken, epochs, parts["state"], parts["momenta"], parts["random"],
                              kernels, moved, parts["observed"])
        return None

    def save(self, key: str, checkpoint: Checkpoint) -> None:
        """Save a checkpoint and delete the one before. The file's name contains its checksum.

        Raises SddError, for example for a full disk.
        """
        parts = {
            "state": checkpoint.state,
            "momenta": checkpoint.momenta,
            "random": checkpoint.random_state,
            "observed": checkpoint.observed,
        }
        record: dict[str, Any] = {"epochs": [vars(epoch) for epoch in checkpoint.epochs],
                                  "kernels": checkpoint.kernels}
        if (moved := checkpoint.moved) is not None:
            parts |= {"masks": moved.masks, "memory": moved.memory}
            record["moved"] = moved.count
        tensors = {f"{part}/{name}": t for part, ts in parts.items() for name, t in ts.items()}
        content = save(tensors, {name: json.dumps(value) for name, value in record.items()})
        name = f"{key}-{checkpoint.taken}-{hashlib.sha256(content).hexdigest()[:16]}.safetensors"
        before = self._files(key)
        write_atomic(self._folder / name, content)
        for _, file in before:
            if file.name != name:
                file.unlink(missing_ok=True)

    def _files(self, key: str) -> list[tuple[int, Path]]:
        """Return a level's checkpoints with their training steps, the latest first."""
        pattern = re.compile(re.escape(key) + r"-(\d{1,18})-[0-9a-f]{16}\.safetensors")
        found = [(int(match[1]), self._folder / match[0])
                 for match in map(pattern.fullmatch, names_in(self._folder)) if match]
        return sorted(found, key=lambda one: -one[0])

    def forget(self, key: str) -> None:
        """Delete the checkpoints of a level."""
        # With a dot: partial files of processes that died.
        for pattern in (f"{key}-*", f".{key}-*"):
            for file in self._folder.glob(pattern):
                file.unlink(missing_ok=True)


_KERNELS = TypeAdapter(tuple[str, ...])
_COUNT = TypeAdapter(int)
_PARTS = ("state", "momenta", "random", "masks", "memory", "observed")

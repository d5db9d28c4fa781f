"""Read and write the files of a level: a record, its weights and masks, and its epochs.

Only the kept weights are stored, and one bit for each weight, so that a sparse level is small.
Pickle is neither written nor read.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from pydantic import TypeAdapter
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from sdd_core.errors import SddError
from sdd_core.files.reading import LARGEST_TENSORS, Damaged, names_in, opened, read_bytes
from sdd_core.level.level import Level
from sdd_core.runs.level_record import LEVEL_RECORD, read_level_record
from sdd_core.runs.rows import parse_epochs

LEVEL_FILES = (LEVEL_RECORD, "weights.safetensors", "masks.safetensors", "epochs.jsonl")

OBSERVED = "observed.safetensors"
"""What the pruner observed during the level's training, if anything."""


def files_of(level: Level) -> tuple[str, ...]:
    """Return the names of a level's files."""
    return (*LEVEL_FILES, OBSERVED) if level.observed else LEVEL_FILES


def read_level(folder: Path, key: str | None = None) -> Level:
    """Return the level in a folder of the store or of a run.

    Raises SddError for missing files or files that do not hold a level, and Damaged for a level
    with another key.
    """
    with content_errors(folder):
        record = read_level_record(folder)
        masks = _unpack(folder / "masks.safetensors")
        state, _ = read_tensors(folder / "weights.safetensors")
        for name, mask in masks.items():
            if state[name].shape != mask.shape:
                full = torch.zeros(mask.shape, dtype=state[name].dtype)
                full[mask] = state[name]
                state[name] = full
        epochs = parse_epochs(read_bytes(folder / "epochs.jsonl"))
    if key not in {None, record.key}:
        raise Damaged(f"it is level {record.key[:12]}")
    kernels = tuple(record.kernels)
    observed = read_tensors(folder / OBSERVED)[0] if OBSERVED in names_in(folder) else {}
    return Level(record.level, masks, state, epochs, record.diverged, kernels, record.moved,
                 observed, record.instructions)


def write_level(folder: Path, key: str, level: Level) -> None:
    """Write the files of a level into a folder. Raises OSError."""
    weights = {
        name: _kept(tensor, level.masks[name]) if name in level.masks else tensor.contiguous()
        for name, tensor in level.state.items()
    }
    (folder / "weights.safetensors").write_bytes(save(weights))
    (folder / "masks.safetensors").write_bytes(_pack(level.masks))
    if level.observed:
        (folder / OBSERVED).write_bytes(save(dict(level.observed)))
    epochs = "".join(json.dumps(vars(epoch)) + "\n" for epoch in level.epochs)
    (folder / "epochs.jsonl").write_text(epochs)
    record = {
        "key": key,
        "level": level.index,
        "diverged": level.diverged,
        "kernels": level.kernels,
        "instructions": level.instructions,
        "torch": str(torch.__version__),
        "threads": torch.get_num_threads(),
        **({} if level.moved is None else {"moved": level.moved}),
    }
    (folder / LEVEL_RECORD).write_text(json.dumps(record, indent=1) + "\n")


@contextmanager
def content_errors(path: Path) -> Iterator[None]:
    """Turn errors of files with unexpected content, such as another version's, into one line.

    Their checksums may be right.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise SddError(f"{path} is incomplete: {Path(error.filename).name} is missing") from None
    except (Damaged, SafetensorError, ValueError, TypeError, LookupError, RuntimeError, MemoryError,
            OSError) as error:
        reason = " ".join(str(error).split())
        raise SddError(f"{path} cannot be read ({type(error).__name__}: {reason}); it was left as "
                       "it is") from None


def _kept(weight: Tensor, mask: Tensor) -> Tensor:
    """Return the kept weights `[kept]`, or all weights if some pruned ones are not zero."""
    return weight.contiguous() if weight[~mask].any() else weight[mask]


def _pack(masks: Mapping[str, Tensor]) -> bytes:
    """Return masks as safetensors, one bit for each weight, with their shapes in the header."""
    bits = {name: torch.from_numpy(np.packbits(mask.numpy())) for name, mask in masks.items()}
    shapes = {name: list(mask.shape) for name, mask in masks.items()}
    return save(bits, {"shapes": json.dumps(shapes)})


def _unpack(file: Path) -> dict[str, Tensor]:
    # The header keeps the order of the network's layers; safetensors itself does not.
    with opened(file, LARGEST_TENSORS), safe_open(file, "np") as found:
        masks = {}
        for name, shape in _SHAPES.validate_json(found.metadata()["shapes"]).items():
            packed, size = found.get_tensor(name), math.prod(shape)
            # Checked before memory for the mask is allocated.
            if min(shape, default=1) < 0 or packed.size != (size + 7) // 8:
                raise ValueError(f"the mask {name!r} of shape {shape} has {packed.size} bytes")
            bits = np.unpackbits(packed, count=size)
            masks[name] = torch.from_numpy(bits.astype(bool)).view(shape)
        return masks


_SHAPES = TypeAdapter(dict[str, list[int]])


def read_tensors(file: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors in a file, and the texts in its header. Raises SddError."""
    with content_errors(file), opened(file, LARGEST_TENSORS), safe_open(file, "pt") as found:
        return load_file(file), found.metadata() or {}

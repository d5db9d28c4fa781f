"""The store: levels by their key, shared by all runs that have them in common.

    <store>/.shared/levels/<key>/       a trained level
    <store>/.shared/metrics/<key>.json  what was measured on that level, by metric
    <store>/.shared/points/<key>/       the dense network after some steps (0: its initialisation)
    <store>/.shared/checkpoints/        levels in the middle of their training
    <store>/.shared/locks/
    <store>/.shared/kernels.json        what `sdd fit-kernels` measured, where it was used
    <store>/.shared/damaged/            what was found damaged and set aside
    <store>/<run>/                      one folder a run, see `sdd_core.runs.run_folder`

A level's weights are stored as its kept weights and a bit for each weight, so that a sparse level
is small. No pickle is written or read.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, TypeAdapter
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from sdd_core.errors import SddError
from sdd_core.files.writing import (
    damaged_file,
    disk_errors,
    level_folder,
    locked,
    set_aside,
    write_atomic,
    write_entry,
)
from sdd_core.level.level import Epoch, Level
from sdd_core.output.notices import warn
from sdd_core.files.reading import (
    LARGEST_SETTINGS,
    LARGEST_TENSORS,
    LARGEST_TEXT,
    Damaged,
    is_folder,
    names_in,
    opened,
    read_bytes,
    read_sealed,
    seal,
)
from sdd_core.runs.rows import parse_epochs
from sdd_core.training.costs import KernelCosts
from sdd_core.level.checkpoint import Checkpoint

LEVEL_FILES = ("level.json", "weights.safetensors", "masks.safetensors", "epochs.jsonl")


class Store:
    """Levels, rewind points and checkpoints in a folder that several processes may share."""

    def __init__(self, folder: Path) -> None:
        """Raises SddError when the folder cannot be made or written."""
        self.folder = folder
        self._shared = folder / ".shared"
        with disk_errors(folder):
            for part in ("levels", "metrics", "points", "checkpoints", "locks"):
                (self._shared / part).mkdir(parents=True, exist_ok=True)
            probe = self._shared / "locks" / ".writable"
            probe.touch()

    def lock(self, key: str) -> AbstractContextManager[None]:
        """Held while a level is made. The system frees it when the process dies."""
        return locked(self._shared / "locks" / f"{key}.lock", f"making {key[:12]}")

    def level_folder(self, key: str) -> Path:
        """Where a level is, or would be."""
        return level_folder(self.folder, key)

    def load_level(self, key: str) -> Level | None:
        """The level, or None when it has to be trained: it is not there, or it was damaged and is
        set aside. Raises SddError when it is there and cannot be read."""
        folder = self.level_folder(key)
        if not self._whole(folder):
            return None
        try:
            level = read_level(folder, key)
        except Damaged as error:
            self._set_aside(folder, f"level {key[:12]}", str(error))
            return None
        # Those that a process left when it died between keeping the level and deleting them.
        self._forget_checkpoints(key)
        return level

    def save_level(self, key: str, level: Level) -> None:
        """Keep a level; it is there entirely or not at all. Raises SddError: a full disk."""

        def write(folder: Path) -> None:
            kept = {
                name: _kept(tensor, level.masks[name]) if name in level.masks
                else tensor.contiguous()
                for name, tensor in level.state.items()
            }
            (folder / "weights.safetensors").write_bytes(save(kept))
            (folder / "masks.safetensors").write_bytes(_pack(level.masks))
            epochs = "".join(json.dumps(vars(epoch)) + "\n" for epoch in level.epochs)
            (folder / "epochs.jsonl").write_text(epochs)
            record = {
                "key": key,
                "level": level.index,
                "diverged": level.diverged,
                "kernels": level.kernels,
                "torch": str(torch.__version__),
                "threads": torch.get_num_threads(),
            }
            (folder / "level.json").write_text(json.dumps(record, indent=1) + "\n")

        write_entry(self.level_folder(key), write)
        self._forget_checkpoints(key)

    def load_metrics(self, key: str) -> dict[str, Any]:
        """What was measured on a level: for each metric's key its values. None of it where that is
        damaged. The caller holds a lock. Raises SddError when it is there and cannot be read."""
        file = self._metrics(key)
        try:
            return _measured(*read_sealed(file, key, LARGEST_TEXT))
        except FileNotFoundError:
            return {}
        except Damaged as error:
            self._set_aside(file, str(file), str(error))
            return {}

    def save_metrics(self, key: str, measured: Mapping[str, Any]) -> None:
        """Keep what was measured on a level, in place of what was kept before. The caller holds a
        lock. Raises SddError: a full disk."""
        content = seal({"level": key, "measured": dict(measured)}, key)
        write_atomic(self._metrics(key), f"{content}\n", locked=True)

    def put_away(self, key: str) -> Path:
        """Move a level aside, for it to be made anew, and return where it is; what was measured on
        it is measured again. Raises SddError."""
        with disk_errors(self.level_folder(key)):
            self._metrics(key).unlink(missing_ok=True)
            return set_aside(self.level_folder(key), self.folder)

    def _metrics(self, key: str) -> Path:
        return self._shared / "metrics" / f"{key}.json"

    def load_point(self, key: str) -> dict[str, Tensor] | None:
        """A state of the dense network, or None when it is not there, or was damaged and is set
        aside. Raises SddError when it is there and cannot be read."""
        folder = self._shared / "points" / key
        if not self._whole(folder):
            return None
        state, record = _tensors(folder / "weights.safetensors")
        if record.get("key", key) != key:
            self._set_aside(folder, f"point {key[:12]}", f"it is point {record['key'][:12]}")
            return None
        return state

    def save_point(self, key: str, state: Mapping[str, Tensor]) -> None:
        """Keep a state of the dense network. Raises SddError: a full disk."""

        def write(folder: Path) -> None:
            (folder / "weights.safetensors").write_bytes(save(dict(state), {"key": key}))

        write_entry(self._shared / "points" / key, write)

    def load_checkpoint(self, key: str) -> Checkpoint | None:
        """The latest whole checkpoint of a level, or None. One that is damaged is set aside.
        Raises SddError when one is there and cannot be read."""
        for taken, file in self._checkpoints(key):
            try:
                content = read_bytes(file, LARGEST_TENSORS)
            except FileNotFoundError:
                continue
            if hashlib.sha256(content).hexdigest()[:16] != file.stem.rpartition("-")[2]:
                reason = "its checksum is not that of its content"
                self._set_aside(file, f"checkpoint {file.name}", reason)
                continue
            tensors, record = _tensors(file)
            parts: dict[str, dict[str, Tensor]] = {"state": {}, "momenta": {}, "random": {}}
            with _as_written(file):
                for name, tensor in tensors.items():
                    part, _, rest = name.partition("/")
                    parts[part][rest] = tensor
                epochs = _epochs("\n".join(map(json.dumps, json.loads(record["epochs"]))))
                kernels = _KERNELS.validate_json(record["kernels"])
            return Checkpoint(
                taken, epochs, parts["state"], parts["momenta"], parts["random"], kernels
            )
        return None

    def save_checkpoint(self, key: str, checkpoint: Checkpoint) -> None:
        """Keep a checkpoint in place of the one before. Its name has its checksum.

        Raises SddError: a full disk."""
        parts = {
            "state": checkpoint.state,
            "momenta": checkpoint.momenta,
            "random": checkpoint.random_state,
        }
        tensors = {f"{part}/{name}": t for part, ts in parts.items() for name, t in ts.items()}
        record = {"epochs": [vars(epoch) for epoch in checkpoint.epochs],
                  "kernels": checkpoint.kernels}
        content = save(tensors, {name: json.dumps(value) for name, value in record.items()})
        name = f"{key}-{checkpoint.taken}-{hashlib.sha256(content).hexdigest()[:16]}.safetensors"
        before = self._checkpoints(key)
        write_atomic(self._shared / "checkpoints" / name, content)
        for _, file in before:
            if file.name != name:
                file.unlink(missing_ok=True)

    def kernel_costs(self) -> KernelCosts:
        """What chooses the sparse kernels: the defaults, or what `sdd fit-kernels` measured.

        They belong to the store, so that all that share its levels choose alike. Raises SddError
        when the file holds something else.
        """
        file = self._shared / "kernels.json"
        try:
            # A table from before there were checksums has none.
            found, _ = read_sealed(file, file.name, LARGEST_SETTINGS)
            return KernelCosts(**found).check()
        except FileNotFoundError:
            return KernelCosts()
        except (Damaged, ValueError, TypeError):
            raise SddError(f"{file} is not a table of kernel costs; run `sdd fit-kernels` again, "
                           "or delete it to use the defaults") from None

    def save_kernel_costs(self, costs: KernelCosts) -> None:
        """Use these costs for all levels that are yet to be trained. Raises SddError."""
        file = self._shared / "kernels.json"
        write_atomic(file, seal(asdict(costs), file.name, indent=1) + "\n")

    def _checkpoints(self, key: str) -> list[tuple[int, Path]]:
        """A level's checkpoints with the steps that they were taken after, the latest first."""
        folder = self._shared / "checkpoints"
        pattern = re.compile(re.escape(key) + r"-(\d{1,18})-[0-9a-f]{16}\.safetensors")
        found = [(int(match[1]), folder / match[0])
                 for match in map(pattern.fullmatch, names_in(folder)) if match]
        return sorted(found, key=lambda one: -one[0])

    def _forget_checkpoints(self, key: str) -> None:
        # With a dot: what was being written when a process died.
        for pattern in (f"{key}-*", f".{key}-*"):
            for file in (self._shared / "checkpoints").glob(pattern):
                file.unlink(missing_ok=True)

    def _whole(self, folder: Path) -> bool:
        """Whether an entry is there as it was written. One that is damaged is set aside; one that
        cannot be read raises SddError, for nothing is known about it."""
        if not is_folder(folder):
            return False
        damaged = damaged_file(folder)
        if damaged:
            what = f"{folder.parent.name.removesuffix('s')} {folder.name[:12]}"
            self._set_aside(folder, what, f"{damaged} is not what was written")
        return not damaged

    def _set_aside(self, path: Path, what: str, reason: str) -> None:
        where = set_aside(path, self.folder)
        warn(f"{what} is damaged ({reason}); it was moved to {where} and is made again")


class _LevelRecord(BaseModel):
    """`level.json`."""

    model_config = ConfigDict(strict=True, frozen=True)

    key: str
    level: int
    diverged: bool
    kernels: list[str]


_KERNELS = TypeAdapter(tuple[str, ...])


def read_level(folder: Path, key: str | None = None) -> Level:
    """The level in a folder of the store, or of a run. Raises SddError for files that are missing
    or hold something else than a level, and Damaged for a level with another key."""
    with _as_written(folder):
        record = _LevelRecord.model_validate_json(read_bytes(folder / "level.json"))
        masks = _unpack(folder / "masks.safetensors")
        state, _ = _tensors(folder / "weights.safetensors")
        for name, mask in masks.items():
            if state[name].shape != mask.shape:
                full = torch.zeros(mask.shape, dtype=state[name].dtype)
                full[mask] = state[name]
                state[name] = full
        epochs = _epochs(read_bytes(folder / "epochs.jsonl").decode())
    if key not in {None, record.key}:
        raise Damaged(f"it is level {record.key[:12]}")
    kernels = tuple(record.kernels)
    return Level(record.level, masks, state, epochs, record.diverged, kernels)


@contextmanager
def _as_written(path: Path) -> Iterator[None]:
    """One line for files whose checksums are right, or of which there are none, and whose content
    is no level: a stranger's, or another version's."""
    try:
        yield
    except FileNotFoundError as error:
        raise SddError(f"{path} is not whole: {Path(error.filename).name} is missing") from None
    except (Damaged, SafetensorError, ValueError, TypeError, LookupError, RuntimeError, MemoryError,
            OSError) as error:
        reason = " ".join(str(error).split())
        raise SddError(f"{path} cannot be read ({type(error).__name__}: {reason}); it was left as "
                       "it is") from None


def _kept(weight: Tensor, mask: Tensor) -> Tensor:
    """The kept weights `[kept]`; all of them where pruned ones are held elsewhere than at zero."""
    return weight.contiguous() if weight[~mask].any() else weight[mask]


def _pack(masks: Mapping[str, Tensor]) -> bytes:
    """Masks as safetensors, a bit for each weight; their shapes stand in the header."""
    bits = {name: torch.from_numpy(np.packbits(mask.numpy())) for name, mask in masks.items()}
    shapes = {name: list(mask.shape) for name, mask in masks.items()}
    return save(bits, {"shapes": json.dumps(shapes)})


def _unpack(file: Path) -> dict[str, Tensor]:
    # The header keeps the order of the network's layers, which safetensors itself does not.
    with opened(file, LARGEST_TENSORS), safe_open(file, "np") as found:
        masks = {}
        for name, shape in _SHAPES.validate_json(found.metadata()["shapes"]).items():
            packed, size = found.get_tensor(name), math.prod(shape)
            # Before so much memory is asked for.
            if min(shape, default=1) < 0 or packed.size != (size + 7) // 8:
                raise ValueError(f"the mask {name!r} of shape {shape} has {packed.size} bytes")
            bits = np.unpackbits(packed, count=size)
            masks[name] = torch.from_numpy(bits.astype(bool)).view(shape)
        return masks


_SHAPES = TypeAdapter(dict[str, list[int]])


def _tensors(file: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors in a file, and the words in its header. Raises SddError."""
    with _as_written(file), opened(file, LARGEST_TENSORS), safe_open(file, "pt") as found:
        return load_file(file), found.metadata() or {}


def _epochs(lines: str) -> tuple[Epoch, ...]:
    return tuple(Epoch(**row.model_dump()) for row in parse_epochs(lines.encode()))


def _measured(found: dict[str, Any], sealed: bool) -> dict[str, Any]:
    """What was measured, out of a file of metrics. Raises Damaged."""
    if not sealed and not all(map(_is_key, found)):
        raise Damaged("it has no checksum")
    # From before there were checksums it has nothing but what was measured.
    measured = found.get("measured") if sealed else found
    if not (isinstance(measured, dict) and all(isinstance(v, dict) for v in measured.values())):
        raise Damaged("it is no table of what was measured")
    return measured


def _is_key(name: str) -> bool:
    return re.fullmatch("[0-9a-f]{40}", name) is not None

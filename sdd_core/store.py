"""The store: levels by their key, shared by all runs that have them in common.

    <store>/.shared/levels/<key>/       a trained level
    <store>/.shared/metrics/<key>.json  what was measured on that level, by metric
    <store>/.shared/points/<key>/       the dense network after some steps (0: its initialisation)
    <store>/.shared/checkpoints/        levels in the middle of their training
    <store>/.shared/locks/
    <store>/.shared/kernels.json        what `sdd fit-kernels` measured, where it was used
    <store>/<run>/                      one folder a run, see `sdd_core.run_folder`

A level's weights are stored as its kept weights and a bit for each weight, so that a sparse level
is small. No pickle is written or read.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout
from safetensors import safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from sdd_core.errors import SddError
from sdd_core.files import damaged_file, disk_errors, level_folder, write_atomic, write_entry
from sdd_core.level import Epoch, Level
from sdd_core.training.costs import KernelCosts
from sdd_core.training.loop import Checkpoint

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

    @contextmanager
    def lock(self, key: str) -> Iterator[None]:
        """Held while a level is made. The system frees it when the process dies."""
        file = self._shared / "locks" / f"{key}.lock"
        lock = FileLock(file)
        with disk_errors(file):
            try:
                lock.acquire(timeout=1)
            except Timeout:
                _say(f"waiting for another process, which is making {key[:12]}")
                lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def level_folder(self, key: str) -> Path:
        """Where a level is, or would be."""
        return level_folder(self.folder, key)

    def load_level(self, key: str) -> Level | None:
        """The level, or None when it has to be trained: it is not there, or it is damaged."""
        folder = self.level_folder(key)
        if not self._whole(folder):
            return None
        # Those that a process left when it died between keeping the level and deleting them.
        self._forget_checkpoints(key)
        return read_level(folder)

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
        damaged."""
        file = self._metrics(key)
        try:
            kept = json.loads(file.read_text())
            if not (isinstance(kept, dict) and all(isinstance(v, dict) for v in kept.values())):
                raise ValueError
        except FileNotFoundError:
            return {}
        except (OSError, ValueError):
            _say(f"{file} is damaged; what it held is measured again")
            return {}
        return kept

    def save_metrics(self, key: str, measured: Mapping[str, Any]) -> None:
        """Keep what was measured on a level, in place of what was kept before. The caller holds a
        lock. Raises SddError: a full disk."""
        write_atomic(self._metrics(key), json.dumps(measured, allow_nan=False) + "\n")

    def forget(self, key: str) -> None:
        """Drop a level and what was measured on it, for it to be made anew. Raises SddError."""
        with disk_errors(self.level_folder(key)):
            shutil.rmtree(self.level_folder(key))
            self._metrics(key).unlink(missing_ok=True)

    def _metrics(self, key: str) -> Path:
        return self._shared / "metrics" / f"{key}.json"

    def load_point(self, key: str) -> dict[str, Tensor] | None:
        """A state of the dense network, or None when it is not there or damaged."""
        folder = self._shared / "points" / key
        return load_file(folder / "weights.safetensors") if self._whole(folder) else None

    def save_point(self, key: str, state: Mapping[str, Tensor]) -> None:
        """Keep a state of the dense network. Raises SddError: a full disk."""

        def write(folder: Path) -> None:
            (folder / "weights.safetensors").write_bytes(save(dict(state)))

        write_entry(self._shared / "points" / key, write)

    def load_checkpoint(self, key: str) -> Checkpoint | None:
        """The latest whole checkpoint of a level, or None. One that is damaged is not used."""
        for file in self._checkpoints(key):
            content = file.read_bytes()
            if hashlib.sha256(content).hexdigest()[:16] != file.stem.split("-")[2]:
                _say(f"checkpoint {file.name} is damaged and will not be used")
                file.unlink(missing_ok=True)
                continue
            tensors = load_file(file)
            with safe_open(file, "pt") as opened:
                record = opened.metadata()
            parts: dict[str, dict[str, Tensor]] = {"state": {}, "momenta": {}, "random": {}}
            for name, tensor in tensors.items():
                part, _, rest = name.partition("/")
                parts[part][rest] = tensor
            taken = int(file.stem.split("-")[1])
            epochs = tuple(Epoch(**epoch) for epoch in json.loads(record["epochs"]))
            kernels = tuple(json.loads(record["kernels"]))
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
        for file in before:
            if file.name != name:
                file.unlink(missing_ok=True)

    def kernel_costs(self) -> KernelCosts:
        """What chooses the sparse kernels: the defaults, or what `sdd fit-kernels` measured.

        They belong to the store, so that all that share its levels choose alike. Raises SddError
        when the file holds something else.
        """
        file = self._shared / "kernels.json"
        if not file.exists():
            return KernelCosts()
        try:
            return KernelCosts(**json.loads(file.read_text())).check()
        except (ValueError, TypeError):
            raise SddError(f"{file} is not a table of kernel costs; run `sdd fit-kernels` again, "
                           "or delete it to use the defaults") from None

    def save_kernel_costs(self, costs: KernelCosts) -> None:
        """Use these costs for all levels that are yet to be trained. Raises SddError."""
        write_atomic(self._shared / "kernels.json", json.dumps(asdict(costs), indent=1) + "\n")

    def _checkpoints(self, key: str) -> list[Path]:
        """A level's checkpoints, the latest first."""
        files = (self._shared / "checkpoints").glob(f"{key}-*-*.safetensors")
        return sorted(files, key=lambda file: -int(file.stem.split("-")[1]))

    def _forget_checkpoints(self, key: str) -> None:
        # With a dot: what was being written when a process died.
        for pattern in (f"{key}-*", f".{key}-*"):
            for file in (self._shared / "checkpoints").glob(pattern):
                file.unlink(missing_ok=True)

    def _whole(self, folder: Path) -> bool:
        if not folder.is_dir():
            return False
        damaged = damaged_file(folder)
        if damaged:
            _say(f"{folder.parent.name[:-1]} {folder.name[:12]} is damaged ({damaged} is not what "
                 "was written); it is made again")
            with disk_errors(folder):
                shutil.rmtree(folder)
        return not damaged


def read_level(folder: Path) -> Level:
    """The level in a folder of the store, or of a run. What is wrong with its files raises what
    those who read them raise: OSError, ValueError, KeyError, SafetensorError."""
    record = json.loads((folder / "level.json").read_text())
    masks = _unpack(folder / "masks.safetensors")
    state = load_file(folder / "weights.safetensors")
    for name, mask in masks.items():
        if state[name].shape != mask.shape:
            full = torch.zeros(mask.shape, dtype=state[name].dtype)
            full[mask] = state[name]
            state[name] = full
    epochs = tuple(_epoch(line) for line in (folder / "epochs.jsonl").read_text().splitlines())
    kernels = tuple(record["kernels"])
    return Level(record["level"], masks, state, epochs, record["diverged"], kernels)


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
    with safe_open(file, "np") as opened:
        masks = {}
        for name, shape in json.loads(opened.metadata()["shapes"]).items():
            bits = np.unpackbits(opened.get_tensor(name), count=math.prod(shape))
            masks[name] = torch.from_numpy(bits.astype(bool)).view(shape)
        return masks


def _epoch(line: str) -> Epoch:
    return Epoch(**json.loads(line))


def _say(problem: str) -> None:
    print(f"sdd: warning: {problem}", file=sys.stderr)

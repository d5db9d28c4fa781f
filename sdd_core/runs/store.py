"""Store levels by their key, shared by all runs that have them in common.

    <store>/.shared/levels/<key>/       a trained level, see `sdd_core.runs.level_files`
    <store>/.shared/metrics/<key>.json  measurements of that level, by metric
    <store>/.shared/points/<key>/       the dense network after some steps (0: its initialisation)
    <store>/.shared/checkpoints/        checkpoints of levels that are being trained
    <store>/.shared/locks/
    <store>/.shared/kernels.json        costs measured by `sdd fit-kernels`, if it was used
    <store>/.shared/damaged/            damaged files that were set aside
    <store>/<run>/                      one folder per run, see `sdd_core.runs.run_folder`
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from threading import get_ident
from typing import Any

from safetensors.torch import save
from torch import Tensor

from sdd_core.errors import SddError
from sdd_core.files.atomic import disk_errors, locked, write_atomic
from sdd_core.files.entries import damaged_file, level_folder, set_aside, write_entry
from sdd_core.files.reading import (
    LARGEST_SETTINGS,
    LARGEST_TEXT,
    Damaged,
    is_folder,
    read_sealed,
    seal,
)
from sdd_core.level.level import Level
from sdd_core.output.notices import warn
from sdd_core.runs.checkpoints import Checkpoints
from sdd_core.runs.level_files import read_level, read_tensors, write_level
from sdd_core.runs.writer import Writer
from sdd_core.sparse.costs import KernelCosts

_MAKING: dict[Path, tuple[int, int]] = {}
"""By lock file: the process and the thread that make a level, and must not wait for that lock."""


def metrics_lock(key: str) -> str:
    """Return the name of the lock for the measurements of a level."""
    return f"{key}-metrics"


class Store:
    """Levels, rewind points and checkpoints in a folder that several processes may share.

    writer: writes levels and measurements in another thread. Use `writer.finished` around it.
    """

    def __init__(self, folder: Path) -> None:
        """Create the folders. Raises SddError when the folder cannot be made or written."""
        self.folder = folder
        self._shared = folder / ".shared"
        with disk_errors(folder):
            for part in ("levels", "metrics", "points", "checkpoints", "locks"):
                (self._shared / part).mkdir(parents=True, exist_ok=True)
            probe = self._shared / "locks" / ".writable"
            probe.touch()
        self.checkpoints = Checkpoints(self._shared / "checkpoints", self._set_aside)
        self.writer = Writer()

    @contextmanager
    def lock(self, key: str) -> Iterator[None]:
        """Hold the lock of a level while it is made. The system frees it when the process dies.
        Raises SddError if this thread holds it already and would wait for itself."""
        file, this = self._lock_file(key), (os.getpid(), get_ident())
        if _MAKING.get(file) == this:
            raise SddError(f"level {key[:12]} is being made by the run that called this code, so "
                           "the same experiment cannot run here in the same store; use another "
                           "store, or run it after that run, for example in sdd_run_end")
        with locked(file, f"making {key[:12]}"):
            _MAKING[file] = this
            try:
                yield
            finally:
                _MAKING.pop(file, None)

    def _lock_file(self, key: str) -> Path:
        return self._shared.resolve() / "locks" / f"{key}.lock"

    def _hand_over(self, held: ExitStack, key: str) -> ExitStack:
        """Return the locks, for another thread to release. key: that of the lock among them."""
        _MAKING.pop(self._lock_file(key), None)
        return held.pop_all()

    def level_folder(self, key: str) -> Path:
        """Return the folder of a level, whether it exists or not."""
        return level_folder(self.folder, key)

    def load_level(self, key: str) -> Level | None:
        """Return a level, or None when it must be trained: it is missing, or it was damaged and is
        now set aside. Raises SddError when it exists and cannot be read."""
        folder = self.level_folder(key)
        if not self._whole(folder):
            return None
        try:
            level = read_level(folder, key)
        except Damaged as error:
            self._set_aside(folder, f"level {key[:12]}", str(error))
            return None
        # Left by a process that died between saving the level and deleting them.
        self.checkpoints.forget(key)
        return level

    def save_level(self, key: str, level: Level, held: ExitStack | None = None) -> None:
        """Save a level atomically. Raises SddError, for example for a full disk.

        held: has the level's lock. With it, the writer's thread writes the files, takes over the
            lock and releases it; until then, the level's tensors must not be changed.
        """
        if held is None:
            self._write_level(key, level)
            return
        self.writer.finish()  # so that at most one level waits, in memory and unsaved
        self.writer.write(partial(self._write_level, key, level),
                          self._hand_over(held, key))

    def _write_level(self, key: str, level: Level) -> None:
        write_entry(self.level_folder(key), lambda folder: write_level(folder, key, level))
        self.checkpoints.forget(key)

    def load_metrics(self, key: str) -> dict[str, Any]:
        """Return the measurements of a level, the values by metric key; empty if they are missing
        or damaged. The caller holds a lock. Raises SddError when they cannot be read."""
        file = self._metrics(key)
        try:
            return _measured(*read_sealed(file, key, LARGEST_TEXT))
        except FileNotFoundError:
            return {}
        except Damaged as error:
            self._set_aside(file, str(file), str(error))
            return {}

    def save_metrics(self, key: str, measured: Mapping[str, Any], held: ExitStack) -> None:
        """Replace the measurements of a level, in the writer's thread, after the level is saved.

        held: has the lock `metrics_lock(key)`, which the writer takes over and releases.
        """
        content = seal({"level": key, "measured": dict(measured)}, key)
        self.writer.write(partial(write_atomic, self._metrics(key), f"{content}\n", locked=True),
                          self._hand_over(held, metrics_lock(key)))

    def put_away(self, key: str) -> Path:
        """Set a level aside, so that it is trained and measured again, and return its new path.
        Raises SddError."""
        with disk_errors(self.level_folder(key)):
            self._metrics(key).unlink(missing_ok=True)
            return set_aside(self.level_folder(key), self.folder)

    def _metrics(self, key: str) -> Path:
        return self._shared / "metrics" / f"{key}.json"

    def load_point(self, key: str) -> dict[str, Tensor] | None:
        """Return a state of the dense network, or None when it is missing, or was damaged and is
        now set aside. Raises SddError when it exists and cannot be read."""
        folder = self._shared / "points" / key
        if not self._whole(folder):
            return None
        state, record = read_tensors(folder / "weights.safetensors")
        if record.get("key", key) != key:
            self._set_aside(folder, f"point {key[:12]}", f"it is point {record['key'][:12]}")
            return None
        return state

    def save_point(self, key: str, state: Mapping[str, Tensor]) -> None:
        """Save a state of the dense network. Raises SddError, for example for a full disk."""

        def write(folder: Path) -> None:
            (folder / "weights.safetensors").write_bytes(save(dict(state), {"key": key}))

        write_entry(self._shared / "points" / key, write)

    def kernel_costs(self) -> KernelCosts | None:
        """Return the costs that decide which sparse kernels are used, as measured by
        `sdd fit-kernels`; None for the defaults of the machine's kind.

        They belong to the store, so that all runs that share its levels use the same kernels.
        Raises SddError when the file holds something else.
        """
        file = self._shared / "kernels.json"
        try:
            # A table from before the introduction of checksums has none.
            found, _ = read_sealed(file, file.name, LARGEST_SETTINGS)
            return KernelCosts(**found).check()
        except FileNotFoundError:
            return None
        except (Damaged, ValueError, TypeError):
            raise SddError(f"{file} is not a table of kernel costs; run `sdd fit-kernels` again, "
                           "or delete the file to use the defaults") from None

    def save_kernel_costs(self, costs: KernelCosts | None) -> None:
        """Use these costs for all further levels; None: the defaults. Raises SddError."""
        file = self._shared / "kernels.json"
        if costs is None:
            file.unlink(missing_ok=True)
            return
        write_atomic(file, seal(asdict(costs), file.name, indent=1) + "\n")

    def _whole(self, folder: Path) -> bool:
        """Return whether an entry exists undamaged. Set a damaged one aside. Raises SddError for
        one that cannot be read: it may be intact."""
        if not is_folder(folder):
            return False
        damaged = damaged_file(folder)
        if damaged:
            what = f"{folder.parent.name.removesuffix('s')} {folder.name[:12]}"
            self._set_aside(folder, what, f"{damaged} is missing, changed or unexpected")
        return not damaged

    def _set_aside(self, path: Path, what: str, reason: str) -> None:
        where = set_aside(path, self.folder)
        warn(f"{what} is damaged ({reason}); it was moved to {where} and will be made again")


def _measured(found: dict[str, Any], sealed: bool) -> dict[str, Any]:
    """Return the measurements in a file of metrics. Raises Damaged."""
    if not sealed and not all(map(_is_key, found)):
        raise Damaged("it has no checksum")
    # Files from before the introduction of checksums have nothing but the measurements.
    measured = found.get("measured") if sealed else found
    if not (isinstance(measured, dict) and all(isinstance(v, dict) for v in measured.values())):
        raise Damaged("it is not a table of measurements")
    return measured


def _is_key(name: str) -> bool:
    return re.fullmatch("[0-9a-f]{40}", name) is not None

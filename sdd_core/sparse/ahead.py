"""Compile the kernels ahead of their use, in another process.

Compilation takes seconds and holds the interpreter's lock, so a thread would hold up everything
else. A process of its own fills numba's cache while this one imports torch and reads its data. No
result depends on it: code that is still missing when a kernel is called is compiled then.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

from sdd_core.sparse.architecture import Architecture, Convolution, Linear, Normalisation
from sdd_core.sparse.architecture import NormConstants as Constants
from sdd_core.sparse.sources import source_digest

LONGEST = 300
"""Seconds to wait for another process at most."""

TILE = 32
"""The examples in the smallest vector of a perceptron."""

PACKAGE = Path(__file__).parent
COMPILER = "sdd_core.sparse.compiling"


class Needed(NamedTuple):
    """What decides which code a network needs.

    batch_size: of training, a multiple of `TILE`. images: the width of the maps (0: a perceptron).
    """

    batch_size: int
    images: int = 0

    @classmethod
    def by(cls, architecture: Architecture, batch_size: int) -> Needed:
        """Return what the kernels need for a network."""
        widths = [size for _, size in architecture.sizes]
        if not widths:
            return cls.by_batch(batch_size)
        # The width of the maps decides which vectors there are: multiples of 8 have the widest.
        return cls(TILE, 4 if any(width % 8 for width in widths) else 8)

    @classmethod
    def by_batch(cls, batch_size: int) -> Needed:
        """Return what the kernels need for a perceptron."""
        # The width of vectors depends on how many of each width, a multiple of TILE, a batch fills.
        return cls(-(-batch_size // TILE) * TILE)

    def architecture(self) -> Architecture:
        """Return the smallest network with the same code."""
        linear = Linear(4, 2)
        if not self.images:
            return Architecture((linear,))
        operations = (Convolution(0, 1, 0, 3, 1), Normalisation(2, 1, 0))
        sizes = ((1, self.images), (4, self.images), (4, self.images))
        return Architecture((linear,), operations, sizes, (Constants(0.1, 1e-5),))


_processes: dict[Needed, subprocess.Popen[bytes]] = {}
_ready: set[Needed] = set()


def start(needed: Needed) -> None:
    """Begin to compile in another process, unless the code is in the cache or this was done."""
    if needed in _processes or getattr(sys, "frozen", False) or not sys.executable:
        return
    with suppress(ImportError, OSError, PackageNotFoundError):
        if folder() is None or is_cached(needed):
            return
        path = [str(PACKAGE.parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
        # It ends with this process, because then the pipe to its input is closed. Ctrl-C in a
        # terminal goes to both, so what it says is dropped.
        _processes[needed] = subprocess.Popen(
            [sys.executable, "-P", "-m", COMPILER, json.dumps(needed)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip


def wait(needed: Needed, tell: Callable[[], object]) -> None:
    """Wait for the process that compiles this, if there is one. Call `tell` first if the code is
    not in the cache, so that this process waits or compiles."""
    if needed in _ready:
        return
    _ready.add(needed)
    if is_cached(needed):
        return
    tell()
    if needed in _processes:
        with suppress(subprocess.TimeoutExpired):
            _processes[needed].wait(LONGEST)


def is_cached(needed: Needed) -> bool:
    """Return whether a process has compiled this for this processor and these versions, and the
    files are still there."""
    with suppress(ImportError, OSError, ValueError, TypeError, PackageNotFoundError):
        name = file_of(needed)
        for place in _folders():
            if (place / name).is_file():
                files = json.loads((place / name).read_bytes())
                return bool(files) and all(Path(file).is_file() for file in files)
    return False


def file_of(needed: Needed) -> str:
    """Return the name of the file that says what was compiled for this."""
    from llvmlite import binding  # noqa: PLC0415 (takes 0.1 s, and may be missing)

    # numba's own variables; what they do not say, it asks of LLVM.
    processor = [os.environ.get("NUMBA_CPU_NAME") or binding.get_host_cpu_name(),
                 os.environ.get("NUMBA_CPU_FEATURES") or binding.get_host_cpu_features().flatten()]
    state = [source_digest(), str(PACKAGE), sys.version, version("numba"), version("llvmlite"),
             version("numpy"), processor, needed]
    return f"sdd-kernels-{hashlib.sha256(json.dumps(state).encode()).hexdigest()[:16]}.json"


def _folders() -> list[Path]:
    """Return the folders for these files, as numba chooses those of its cache."""
    if chosen := os.environ.get("NUMBA_CACHE_DIR"):
        return [Path(chosen)]
    user = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return [PACKAGE / "__pycache__", Path(user).expanduser() / "numba"]


def folder() -> Path | None:
    """Return the first folder that can be written; None: nothing can be kept."""
    for place in _folders():
        with suppress(OSError, RuntimeError):
            place.mkdir(parents=True, exist_ok=True)
            if os.access(place, os.W_OK):
                return place
    return None

"""Small runs, and plugins made by hand, for the tests of the engine."""

from __future__ import annotations

import math
import os
import random
import signal
import sys
import textwrap
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import entry_points
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import sdd_core
from sdd_core import Model, hookimpl
from sdd_core.plugin.discovery import Plugins, load_plugins
from sdd_core.runs.result import Result
from sdd_core.runs.store import Store
from sdd_core.sweeps import expand
from sdd_core.sweeps.plan import Plan

SMALL: dict[str, Any] = {
    "model": {"name": "mlp", "widths": [16]},
    "train": {"epochs": 3},
    "pruner": {"name": "imp", "fraction": 0.4},
    "levels": 2,
}
"""Settings of a run that takes a fraction of a second."""


needs_muon = pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="torch has no Muon")


class Net(nn.Module):
    """A perceptron of one's own for the digits, with a batch normalisation."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(64, 16)
        self.norm = nn.BatchNorm1d(16)
        self.last = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.norm(self.first(x.flatten(1))).relu())


def small(**changes: Any) -> dict[str, Any]:
    """SMALL with other sections or values."""
    return {**SMALL, **changes}


def go(settings: dict[str, Any], store: Path, **options: Any) -> Result:
    """Carry out an experiment in a store."""
    return sdd_core.run(settings, store=store, device="cpu", **options)


def plugins_with(**hooks: list[type]) -> Plugins:
    """The installed plugins and, from the distribution `stranger`, those of the given hooks."""
    plugins = Plugins()
    plugins.load(entry_points(group="sdd"))
    plugins.register(module(**hooks), "stranger", "1.0", "entry")
    return plugins


def add_distribution(
    folder: Path, name: str, version: str, source: str, *entries: str, module: str | None = None,
    group: str = "sdd",
) -> None:
    """Put a distribution of one module, or one more of its modules, into a folder as pip would.

    entries: lines of its entry points. module: its name (None: that of the distribution).
    """
    file_name = name.replace("-", "_")
    (folder / f"{module or file_name}.py").write_text(textwrap.dedent(source))
    info = folder / f"{file_name}-{version}.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    with (info / "entry_points.txt").open("a") as lines:
        header = () if lines.tell() else (f"[{group}]",)
        lines.writelines(f"{line}\n" for line in (*header, *entries))


def scope_of(name: str) -> Any:
    """The scope of that name."""
    return load_plugins().make("scope", name)


def module(**hooks: Any) -> Any:
    """Something with hooks that return the given lists, or call the given functions."""
    functions = {
        name: hookimpl(result if callable(result) else lambda result=result: result)
        for name, result in hooks.items()
    }
    return SimpleNamespace(**functions)


class Log:
    """An observer that notes what happens."""

    def __init__(self) -> None:
        self.levels: list[int] = []
        self.epochs: list[tuple[int, int]] = []

    @hookimpl
    def sdd_level_start(self, level: int) -> None:
        self.levels.append(level)

    @hookimpl
    def sdd_epoch_end(self, level: int, epoch: sdd_core.Epoch) -> None:
        self.epochs.append((level, epoch.number))


def contents(folder: Path) -> dict[str, bytes]:
    """The bytes of every file in a folder, by its path; locks are left out."""
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.name != ".lock"
    }


@contextmanager
def last_level_held(settings: dict[str, Any], store: Path) -> Iterator[None]:
    """As long as it lasts, a sweep does not get to its end, however fast or slow it is: it waits
    for its last level, as if another process were making that."""
    plan = Plan.of(expand([settings], load_plugins()))
    with Store(store).lock(plan.keys[-1]):
        yield


def in_child(work: Callable[[], Any]) -> int:
    """Do some work in a forked process and return how that ended: 0 when the work was done, 1
    when it raised, and minus the signal when it was killed."""
    return end_of(start_child(work))


def start_child(work: Callable[[], Any]) -> int:
    """Begin some work in a forked process, and return its number."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)
        os._exit(0)
    return child


def end_of(child: int) -> int:
    """Wait for a process and return how it ended, as `in_child` does."""
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


class KillMyself:
    """Kills its process the n-th time that it is called."""

    def __init__(self, after: int) -> None:
        self.left = after

    def __call__(self, *_: Any) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def draws(seed: int, low: int, high: int) -> Callable[[], int]:
    """Whole numbers from low to high, the same in every run of the tests."""
    generator = random.Random(seed)
    return lambda: generator.randint(low, high)


WEIGHTS = [f"levels/{level:02d}/weights.safetensors" for level in range(3)]


def weights(result):
    files = contents(result.folder)
    return [files[name] for name in WEIGHTS]


def rows(result):
    return [(level.metrics, level.density) for level in result.levels]


class Dropping(Model):
    """A network that draws from torch's global generator while it trains."""

    name = "dropping"

    def build(self, input_shape, num_classes):
        inputs = math.prod(input_shape)
        return nn.Sequential(
            nn.Flatten(), nn.Linear(inputs, 16), nn.ReLU(), nn.Dropout(0.3),
            nn.Linear(16, num_classes),
        )

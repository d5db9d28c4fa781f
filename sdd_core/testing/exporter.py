"""Checks of export formats."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

from sdd_core.errors import FAILURES, SddError, format_error
from sdd_core.exports.compare import check_equal, random_batches
from sdd_core.installation import DISTRIBUTION
from sdd_core.plugin.kinds.exporter import Exportable
from sdd_core.randomness import fork_random_state
from sdd_core.runs.result import Result
from sdd_core.testing.call import Check, call, fault, unchanged
from sdd_core.testing.fixtures import CLASSES, levels, make_level, tiny_run, view_of

SHAPE = (1, 6, 6)


def checks(plugin: Any) -> list[Check]:
    """Return the checks of an export format."""
    return Check.all(harmless, in_its_place, same_logits, own_modules, facts, about=(plugin,))


def same_logits(plugin: Any) -> None:
    """What it writes computes the logits of the network, at every sparsity and batch size"""
    for which, level in levels().items():
        if not level.diverged:
            with _exported(plugin, view_of(level).network(), level.masks) as (source, path):
                _compare(plugin, source, path, which)


def own_modules(plugin: Any) -> None:
    """It exports a module with frozen parameters and tied weights"""
    with _exported(plugin, *_tied()) as (source, path):
        _compare(plugin, source, path, "a module with frozen and tied weights")


def in_its_place(plugin: Any) -> None:
    """It writes only to the path that it is given"""
    with TemporaryDirectory() as here, contextlib.chdir(here), _half(plugin) as (_, path):
        strange = [*Path(here).iterdir(), *(one for one in path.parent.iterdir() if one != path)]
        if strange:
            raise fault(plugin, f"writes {strange[0].name!r}; write to `path` only")


def harmless(plugin: Any) -> None:
    """It changes neither the network nor the masks"""
    with _half(plugin) as (source, path):
        before = _contents(source)
        call(plugin, "write", source, _beside(path))
        call(plugin, "load", path, source)
        unchanged(plugin, "write", "the network or its masks", before, _contents(source))


def facts(plugin: Any) -> None:
    """It returns facts that JSON can hold"""
    with _half(plugin) as (source, path):
        found = call(plugin, "write", source, _beside(path))
        try:
            json.dumps(dict(found), allow_nan=False)
        except (TypeError, ValueError) as error:
            raise fault(plugin, f"write() returned {found!r}; expected a mapping that JSON can "
                                f"hold ({error})") from None


class _Tied(nn.Module):
    """A network whose middle layer is used twice, with a frozen first layer."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Linear(36, 36).requires_grad_(False)
        self.inner = nn.Linear(36, 36)
        self.again = nn.Linear(36, 36)
        self.again.weight = self.inner.weight
        self.last = nn.Linear(36, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        hidden = self.inner(self.scale(images.flatten(1))).relu()
        return self.last(self.again(hidden).relu())


def _tied() -> tuple[nn.Module, dict[str, Tensor]]:
    """Return a network with frozen and tied weights, and its masks."""
    with fork_random_state():
        torch.manual_seed(0)
        network = _Tied().eval()
        masks = {"inner.weight": torch.rand(36, 36) < 0.3}
    with torch.no_grad():
        network.inner.weight.mul_(masks["inner.weight"])
    return network, masks


def _contents(source: Exportable) -> dict[str, Any]:
    state = {name: tensor.clone() for name, tensor in source.network.state_dict().items()}
    masks = {name: mask.clone() for name, mask in source.masks.items()}
    return {"state": state, "masks": masks, "training": source.network.training}


def _half(plugin: Any) -> contextlib.AbstractContextManager[tuple[Exportable, Path]]:
    """Export a level with half of the weights."""
    level = make_level(0.5, 1)
    return _exported(plugin, view_of(level).network(), level.masks)


@contextlib.contextmanager
def _exported(
    plugin: Any, network: nn.Module, masks: Mapping[str, Tensor]
) -> Iterator[tuple[Exportable, Path]]:
    """Yield what was exported and its path."""
    with TemporaryDirectory() as folder:
        result = tiny_run(Path(folder), levels=1)
        path = Path(folder) / "artefacts" / f"network{plugin.suffix}"
        path.parent.mkdir()
        batch = next(batch for batch in random_batches(SHAPE) if len(batch) == 2)
        source = Exportable(network.eval(), masks, batch, _description(result), result)
        call(plugin, "write", source, path)
        if not path.exists() or path.is_dir() != (plugin.suffix == ""):
            kind = "file" if plugin.suffix else "folder"
            raise fault(plugin, f"write() writes no {kind} at its path")
        yield source, path


def _description(result: Result) -> dict[str, Any]:
    return {
        "run": result.run, "level": 1, "sparsity": 0.5, "metrics": {"test_accuracy": 0.5},
        "model": "kit", "classes": CLASSES, "input_shape": list(SHAPE),
        "normalisation": {"scale": 1.0, "mean": [0.5], "std": [0.3]}, "noise": result.noise,
        "sdd": version(DISTRIBUTION),
    }  # fmt: skip


def _beside(path: Path) -> Path:
    return path.with_name(f"again{path.suffix}")


def _compare(plugin: Any, source: Exportable, path: Path, which: str) -> None:
    artefact = call(plugin, "load", path, source)
    try:
        check_equal(source.network, artefact, random_batches(SHAPE), plugin.tolerance)
    except SddError as error:
        raise fault(plugin, f"exports {which} wrong: {error}") from None
    except FAILURES as error:
        raise fault(plugin, f"what it loads of {which} raised {format_error(error)}") from error

"""Checks of pruners."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import torch
from torch import Tensor

from sdd_core.errors import SddError
from sdd_core.level import masks as masking
from sdd_core.level.level import Level, LevelView
from sdd_core.plugin.discovery import load_plugins
from sdd_core.plugin.kinds import Scope
from sdd_core.pruning import prune
from sdd_core.testing.call import Check, call, call_twice, fault, same, unchanged, with_options
from sdd_core.testing.fixtures import contents, devices, levels, make_level, tiny_run, view_of
from sdd_core.testing.observing import keeps_state, observed, own_options, resumes

EXEMPT = ("6.weight",)
FRACTION = 0.6


def checks(plugin: Any) -> list[Check]:
    """Return the checks of a pruner."""
    functions = [scores, precision]
    if plugin.observes():
        functions += [keeps_state, own_options, resumes]
    functions += [hands_off, determinism, any_depth]
    if not plugin.prune_ties:  # if whole channels are pruned together, counts are not exact
        functions.append(counts)
    return Check.all(*functions, about=(plugin,))


def scores(plugin: Any) -> None:
    """A finite score of the right shape for each weight that may be pruned, and no other"""
    for device in devices():
        for which, level in levels().items():
            for exempt in ((), EXEMPT):
                view = _view(plugin, level, exempt, device)
                found = _checked(plugin, call(plugin, "scores", view), level, view.prunable)
                for name, layer in found.items():
                    if not layer[level.masks[name]].isfinite().all():
                        raise fault(plugin, f"gives a score of {name!r} that is not finite, on "
                                            f"{which}")


def precision(plugin: Any) -> None:
    """Scores are numbers that order weights: half or double precision, or whole numbers"""
    level = make_level(0.5, 1)
    found = call(plugin, "scores", _view(plugin, level))
    for name, layer in found.items():
        if layer.dtype not in {torch.float16, torch.bfloat16, torch.float32, torch.float64,
                               torch.int64, torch.int32}:
            raise fault(plugin, f"scores {name!r} in {layer.dtype}; use a torch.float type")
        if layer.requires_grad:
            raise fault(plugin, f"gives scores of {name!r} that need gradients; detach() them")


def hands_off(plugin: Any) -> None:
    """It does not modify its inputs"""
    view = _view(plugin, make_level(0.5, 1))
    before = contents(view)
    call(plugin, "scores", view)
    for what, after in contents(view).items():
        unchanged(plugin, "scores", what, before[what], after)


def determinism(plugin: Any) -> None:
    """Equal levels get equal scores, and it draws only from level.generator"""
    for level in (make_level(), make_level(0.5, 1)):
        call_twice(plugin, "scores", partial(lambda one: (_view(plugin, one, EXEMPT),), level))


def any_depth(plugin: Any) -> None:
    """Down to the last weight: nested masks, exact counts, exempt layers not pruned"""
    for scope in ("global", "layer"):
        level, competing = make_level(), cast(Scope, load_plugins().make("scope", scope))
        while (kept := _kept(level.masks)) > 0:
            view = _view(plugin, level, EXEMPT)
            found = _checked(plugin, call(plugin, "scores", view), level, view.prunable)
            masks = prune.prune_fraction(level.masks, found, FRACTION, competing)
            groups = [view.prunable] if scope == "global" else [[name] for name in view.prunable]
            expected = kept - sum(_share(FRACTION, _kept(level.masks, names)) for names in groups)
            if _kept(masks) != expected:
                raise fault(plugin, f"leaves {_kept(masks)} weights of {kept}, expected {expected} "
                                    f"with scope {scope!r}")
            if any(bool((masks[name] & ~level.masks[name]).any()) for name in masks):
                raise fault(plugin, "brings back weights that were pruned")
            if not same({n: masks[n] for n in EXEMPT}, {n: level.masks[n] for n in EXEMPT}):
                raise fault(plugin, f"prunes the exempt layer {EXEMPT[0]!r}")
            level = make_level(masks=masks, index=level.index + 1)


def counts(plugin: Any) -> None:
    """A run reaches the requested sparsity at each level, with the same masks when repeated"""
    exact = with_options(plugin, fraction=0.6, sparsity=None, from_dense=False, scope="global",
                         exempt=EXEMPT)
    with TemporaryDirectory() as folder:
        try:
            result, repeated = (
                tiny_run(Path(folder) / which, pruner=exact, levels=3, train={"epochs": 1})
                for which in ("once", "again")
            )
        except SddError as error:
            raise fault(plugin, f"stops a run: {error}") from error
        size = kept = sum(mask.numel() for name, mask in make_level().masks.items()
                          if name not in EXEMPT)
        for level in result.levels:
            if level.sparsity != (size - kept) / size:
                raise fault(plugin, f"gives level {level.level} sparsity {level.sparsity:.4f}, "
                                    f"expected {(size - kept) / size:.4f}")
            kept -= _share(0.6, kept)
        for index in range(4):
            one, other = (
                (run.folder / "levels" / f"{index:02d}" / "masks.safetensors").read_bytes()
                for run in (result, repeated)
            )
            if one != other:
                raise fault(plugin, f"prunes other weights at level {index} when the run is made "
                                    "again")


def _view(
    plugin: Any, level: Level, exempt: tuple[str, ...] = (), device: torch.device | None = None
) -> LevelView:
    """Return the view of a level for a pruner that is to prune FRACTION of the kept weights."""
    names = [name for name in level.masks if name not in exempt]
    target_density = (1 - FRACTION) * masking.density(level.masks, names)
    return view_of(observed(plugin, level), exempt, device, target_density)


def _checked(
    plugin: Any, found: Any, level: Level, prunable: list[str]
) -> Mapping[str, Tensor]:
    """Return scores with the right names and shapes. Raises Fault otherwise."""
    try:
        return prune.check_scores(found, level.masks, prunable, f"pruner {plugin.name!r}")
    except SddError as error:
        raise fault(plugin, str(error).removeprefix(f"pruner {plugin.name!r}").lstrip(": ")) from (
            error
        )


def _kept(masks: Mapping[str, Tensor], names: list[str] | None = None) -> int:
    chosen = [n for n in masks if n not in EXEMPT] if names is None else names
    return sum(int(masks[name].sum()) for name in chosen)


def _share(fraction: float, count: int) -> int:
    return math.ceil(Decimal(repr(fraction)) * count)

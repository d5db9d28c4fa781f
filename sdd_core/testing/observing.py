"""Checks of pruners that observe training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from sdd_core.level.level import Level
from sdd_core.level.step import StepView
from sdd_core.testing.call import again, call, fault, same, with_options
from sdd_core.testing.fixtures import make_level, trainable, view_of
from sdd_core.testing.retrain import killed_and_resumed

BATCHES = (0, 1, 2, 0, 1)
"""The number of each observed step's batch in its epoch."""


def observed(plugin: Any, level: Level) -> Level:
    """Return a level with what a pruner observes of it in a few steps; nothing if it diverged."""
    if not plugin.observes() or level.diverged:
        return level
    return replace(level, observed=_state(plugin, _steps(level)))


def keeps_state(plugin: Any) -> None:
    """What it observes is in `state` alone, so that it survives a checkpoint"""
    level, other = make_level(0.5, 1), make_level(0.9, 2)
    steps = _steps(level)
    whole = _state(plugin, steps)
    scores = call(plugin, "scores", view_of(replace(level, observed=whole)))
    begun = _state(plugin, steps[:2])
    _state(plugin, _steps(other))  # what another process may do meanwhile
    resumed = _state(again(plugin), _steps(level)[2:], begun)
    later = call(again(plugin), "scores", view_of(replace(level, observed=resumed)))
    if not same(whole, resumed) or not same(scores, later):
        raise fault(plugin, "observes or scores something else after a checkpoint; keep all that "
                            "is observed as tensors in `state`, nothing on the plugin or its "
                            "module")


def own_options(plugin: Any) -> None:
    """What it observes depends on no option of all pruners, such as fraction"""
    level = make_level(0.5, 1)
    other = with_options(plugin, fraction=0.75, sparsity=None, exempt=("*",))
    if not same(_state(plugin, _steps(level)), _state(other, _steps(level))):
        raise fault(plugin, "observes something else with another pruner.fraction or "
                            "pruner.exempt; use those only in scores(), because experiments that "
                            "differ in them share the dense network")


def resumes(plugin: Any) -> None:
    """A resumed run equals an uninterrupted one bit for bit"""
    killed_and_resumed(plugin, pruner=with_options(plugin, fraction=0.5, sparsity=None))


def _state(
    plugin: Any, steps: Sequence[StepView], state: dict[str, Tensor] | None = None
) -> dict[str, Tensor]:
    """Return a copy of the state after these steps."""
    found = dict(state or {})
    for step in steps:
        call(plugin, "observe", found, step, own=("torch's",))
        for name, value in found.items():
            if not (isinstance(name, str) and isinstance(value, Tensor)):
                raise fault(plugin, f"observe() leaves {name!r} of type {type(value).__name__} in "
                                    "the state; expected tensors by name")
    return {name: value.detach().clone() for name, value in found.items()}


def _steps(level: Level) -> list[StepView]:
    """Return steps of a level's training, with moving weights and random gradients."""
    weights = {name: level.state[name].clone() for name in trainable()}
    found = []
    for step, batch in enumerate(BATCHES):
        draw = torch.Generator().manual_seed(100 * level.index + step)
        gradients = {name: torch.randn(weight.shape, generator=draw)
                     for name, weight in weights.items()}
        found.append(StepView(step, len(BATCHES), batch, 0.1, weights, gradients, level.masks))
        weights = {name: weight - 0.1 * gradients[name] * (level.masks.get(name, torch.ones(())))
                   for name, weight in weights.items()}
    return found

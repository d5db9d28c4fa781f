"""Checks of sparse training."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from sdd_core.errors import SddError
from sdd_core.level.mask_view import MaskView
from sdd_core.level.masks import full_masks, layouts_of, prunable_weights
from sdd_core.plugin.base import noun
from sdd_core.plugin.kinds import Scope, label
from sdd_core.plugin.kinds.scope import Layer
from sdd_core.plugin.pattern import parse_pattern
from sdd_core.pruning.moving import (
    Course,
    check_memory,
    check_moved,
    check_values,
    plan_course,
    view_of,
)
from sdd_core.pruning.rules import Rules
from sdd_core.randomness import generator
from sdd_core.testing.call import Check, call, call_twice, fault, same, unchanged
from sdd_core.testing.fixtures import CLASSES, TinyNetwork
from sdd_core.testing.retrain import killed_and_resumed

EXEMPT = "6.weight"
LENGTHS = ((600, 40), (1000, 7))
"""Steps of a level, and of an epoch."""


class _Together(Scope):
    """All layers compete."""

    name = "kit"

    def shares(
        self, layers: Mapping[str, Layer], count: Callable[[int, int], int]
    ) -> Sequence[tuple[Sequence[str], int]]:
        kept, size = (sum(getattr(layer, what) for layer in layers.values())
                      for what in ("kept", "size"))
        return [([*layers], count(kept, size))]


@dataclass
class _Update:
    """An update in a level's training: what the plugin gets, and what it must return again."""

    course: Course
    step: int
    weights: dict[str, Tensor]
    masks: dict[str, Tensor]
    gradients: dict[str, Tensor]
    state: dict[str, Tensor]

    def view(self, state: dict[str, Tensor] | None = None) -> MaskView:
        """Return a view of copies."""
        copies = [{name: tensor.clone() for name, tensor in part.items()}
                  for part in (self.weights, self.masks, self.gradients, self.state)]
        weights, masks, gradients, memory = copies
        return view_of(self.course, self.step, weights, masks, gradients,
                       lambda: {name: 0.1 * tensor for name, tensor in self.weights.items()},
                       memory if state is None else state)


def checks(plugin: Any) -> list[Check]:
    """Return the checks of sparse training."""
    return Check.all(steps, counts, remembers, deterministic, hands_off, resumes, about=(plugin,))


def steps(plugin: Any) -> None:
    """Its updates are steps of the level, the same each time, and end with all of the pruning"""
    for length in LENGTHS:
        call_twice(plugin, "updates", partial(tuple, length))
        for step in _course(plugin, *length).updates:
            call_twice(plugin, "progress", partial(tuple, (step, length[0])))


def counts(plugin: Any) -> None:
    """Its masks keep the right number of weights, and only regrown weights get values"""
    _trained(plugin, _course(plugin, *LENGTHS[0]))
    if plugin.patterns:
        _trained(plugin, _course(plugin, *LENGTHS[0], pattern="row"))


def deterministic(plugin: Any) -> None:
    """Its masks depend only on its options and the view, and on no global randomness"""
    for update in _trained(plugin, _course(plugin, *LENGTHS[0]))[:3]:
        call_twice(plugin, "masks", partial(_arguments, update))


def _arguments(update: _Update) -> tuple[MaskView]:
    return (update.view(),)


def hands_off(plugin: Any) -> None:
    """It does not modify weights, masks or gradients"""
    for update in _trained(plugin, _course(plugin, *LENGTHS[0]))[:3]:
        view, fresh = update.view(), update.view()
        call(plugin, "masks", view)
        for what in ("weights", "masks", "gradients", "before"):
            unchanged(plugin, "masks", f"view.{what}", getattr(fresh, what), getattr(view, what))


def remembers(plugin: Any) -> None:
    """It keeps what it remembers in `view.state`, where checkpoints find it"""
    updates = _trained(plugin, _course(plugin, *LENGTHS[0]))
    for update, after in zip(reversed(updates[:-1]), reversed(updates[1:]), strict=True):
        view = update.view()
        if not same(call(plugin, "masks", view), after.masks) or not same(view.state, after.state):
            raise fault(plugin, "masks() gives other masks from the state of a checkpoint; keep "
                                "everything that it remembers in view.state")


def resumes(plugin: Any) -> None:
    """A resumed run equals an uninterrupted one bit for bit"""
    epochs = next((n for n in (2, 30) if len([*plugin.updates(5 * n - 1, 5)]) > 1), 120)
    of_level = 2 * epochs + 2  # begins and ends
    killed_and_resumed(
        plugin, (of_level + epochs, epochs // 2 + 2, epochs + 3), "view", sparse_training=plugin,
        train={"epochs": epochs, "batch_size": 48, "lr": 0.05},
    )


def _course(plugin: Any, steps: int, steps_per_epoch: int, pattern: str | None = None) -> Course:
    """Return the course of a level of the tiny network, of which half is pruned."""
    network = TinyNetwork().build((1, 6, 6), CLASSES)
    before = full_masks(prunable_weights(network))
    draw = generator(0, "kit", "masks")
    after = {name: mask if name == EXEMPT else _half(mask, draw, pattern is not None)
             for name, mask in before.items()}
    rules = Rules(layouts=layouts_of(network),
                        pattern=parse_pattern(pattern) if pattern else None)
    with _faults(plugin):
        return plan_course(plugin, steps, steps_per_epoch, level=1, seed=0, before=before,
                           after=after, exempt=frozenset({EXEMPT}), scope=_Together(), rules=rules)


def _half(mask: Tensor, draw: torch.Generator, rows: bool) -> Tensor:
    kept = torch.rand(len(mask) if rows else mask.shape, generator=draw) < 0.5
    return kept.view(-1, *(1,) * (mask.dim() - 1)).expand(mask.shape).clone() if rows else kept


def _trained(plugin: Any, course: Course) -> list[_Update]:
    """Return the updates of a level, and the end: weights and gradients are random, the masks those
    that the plugin returns. Raises Fault for invalid ones."""
    masks, state = dict(course.start), dict[str, Tensor]()
    found = []
    for step in (*course.updates, course.steps):
        draw = generator(0, "kit", "update", step)
        weights, gradients = ({name: torch.randn(mask.shape, generator=draw)
                               for name, mask in masks.items()} for _ in range(2))
        weights = {name: weight.masked_fill(~masks[name], 0) for name, weight in weights.items()}
        kept = {name: tensor.clone() for name, tensor in state.items()}
        update = _Update(course, step, weights, dict(masks),
                         gradients if plugin.gradients else {}, kept)
        found.append(update)
        if step < course.steps:
            view = update.view(state)
            moved = call(plugin, "masks", view)
            with _faults(plugin):
                before, masks = masks, check_moved(course, step, moved, masks)
                grown = {name: masks[name] & ~mask for name, mask in before.items()}
                check_values(course, call(plugin, "values", view, grown), grown)
                check_memory(course, state)
    return found


@contextmanager
def _faults(plugin: Any) -> Iterator[None]:
    """Turn an SddError about the plugin into a Fault."""
    try:
        yield
    except SddError as error:
        who = f"{noun(plugin)} {label(plugin)!r}"
        raise fault(plugin, str(error).removeprefix(who).lstrip(": ")) from error

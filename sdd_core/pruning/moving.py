"""Masks that move while a level trains: what a plugin sees, and the check of what it returns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor

from sdd_core.data.plain import dense_tensor, real, whole
from sdd_core.errors import SddError
from sdd_core.level.checkpoint import plain_state
from sdd_core.level.mask_view import Absent, MaskView
from sdd_core.level.masks import Masks, kept_and_size
from sdd_core.plugin.kinds import Scope, SparseTraining, label
from sdd_core.pruning import prune
from sdd_core.pruning.groups import positions_of
from sdd_core.pruning.rules import Rules, check_groups_whole
from sdd_core.pruning.shares import groups_of


@dataclass(frozen=True)
class Course:
    """The course of a level's masks.

    before: the masks of the level that was pruned. after: the pruner's masks, whose counts the
        level ends with. updates: the steps at which the masks move, ascending. progress: how much
        of the pruning is done from each of them on, 0 to 1.
    """

    plugin: SparseTraining
    level: int
    seed: int
    steps: int
    steps_per_epoch: int
    before: Masks
    after: Masks
    exempt: frozenset[str]
    scope: Scope
    rules: Rules
    updates: tuple[int, ...]
    progress: tuple[float, ...]

    @cached_property
    def who(self) -> str:
        """The plugin, for messages."""
        return _who(self.plugin)

    @cached_property
    def start(self) -> Masks:
        """The masks with which the level starts."""
        starts_pruned = real(self.plugin.progress(0, self.steps)) >= 1
        return self.after if starts_pruned else self.before

    @cached_property
    def settled(self) -> int:
        """The step from which the level has its final number of weights."""
        early = [step for step, part in zip(self.updates, self.progress, strict=True) if part < 1]
        if self.start is self.after and not early:
            return 0
        return next(step for step in self.updates if step > max(early, default=-1))

    @property
    def names(self) -> list[str]:
        """The layers that may be pruned."""
        return [name for name in self.after if name not in self.exempt]

    @cached_property
    def groups(self) -> list[list[str]]:
        """The layers that share a number of weights, under the pruner's scope."""
        return groups_of(self.scope, self.after, self.names)

    @cached_property
    def overshoot(self) -> int:
        """The number of weights that may be missing because a pattern prunes whole groups."""
        pattern = self.rules.pattern
        if pattern is None or pattern.keep is not None:
            return 0
        largest = max(positions_of(pattern, name, self.after[name].shape,
                                   self.rules.layout(name)).shape[1] for name in self.names)
        return len(self.groups) * (largest - 1)

    def kept(self, step: int, names: Iterable[str]) -> int:
        """Return the number of weights that a group keeps from the update at `step` on."""
        part = self.progress[self.updates.index(step)]
        most, least = (kept_and_size(masks, names)[0] for masks in (self.before, self.after))
        return least + round((most - least) * (1 - part))

    def total(self, step: int) -> int:
        """Return the number of weights that all layers keep from the update at `step` on."""
        return sum(self.kept(step, names) for names in self.groups)


def view_of(
    course: Course,
    step: int,
    weights: Mapping[str, Tensor],
    masks: Masks,
    gradients: Mapping[str, Tensor],
    momenta: Callable[[], Mapping[str, Tensor]],
    state: dict[str, Tensor],
) -> MaskView:
    """Return the view of a level's training at an update; see `MaskView`."""

    def prune_to(scores: Masks) -> dict[str, Tensor]:
        names = [name for name in masks if name not in course.exempt]
        scores = prune.check_scores(scores, masks, names, course.who)
        return prune.prune_to_counts(masks, scores, partial(course.kept, step), course.scope,
                                     course.rules)

    if not course.plugin.gradients:
        gradients = Absent("view.gradients is empty; set gradients = True in the class")
    return MaskView(
        level=course.level, step=step, steps=course.steps, steps_per_epoch=course.steps_per_epoch,
        weights=weights, masks=masks, before=course.before, gradients=gradients, momenta=momenta,
        exempt=course.exempt, seed=course.seed, state=state, prune=prune_to,
    )


def plan_course(
    plugin: SparseTraining, steps: int, steps_per_epoch: int, **parts: Any
) -> Course:
    """Return the course of a level's masks. Raises SddError for invalid updates."""
    who = _who(plugin)
    try:
        given: Iterable[Any] = plugin.updates(steps, steps_per_epoch)
        updates = tuple(sorted({whole(step) for step in given}))
        progress = tuple(real(plugin.progress(step, steps)) for step in updates)
    except TypeError as error:
        raise SddError(f"{who}: updates() or progress(): {error}; expected steps, and numbers from "
                       "0 to 1") from None
    if not updates:
        option = "sparse_training.every" if "every" in type(plugin).model_fields else None
        advice = f"lower {option}" if option else "let it move them more often"
        raise SddError(f"{who} never moves the masks in the {steps} steps of a level; train longer "
                       f"or {advice}")
    if not 0 <= updates[0] <= updates[-1] < steps:
        raise SddError(f"{who} moves the masks at step {updates[0]} and up to {updates[-1]}; a "
                       f"level has steps 0 to {steps - 1}")
    if not all(0 <= part <= 1 for part in progress):
        raise SddError(f"{who} gives a progress of {min(progress):g} to {max(progress):g}; "
                       "expected numbers from 0 to 1")
    if progress[-1] != 1:
        raise SddError(f"{who} ends with a progress of {progress[-1]:g} at step {updates[-1]}, its "
                       "last update; expected 1, so that the level ends as sparse as its pruner "
                       "says")
    course = Course(plugin, steps=steps, steps_per_epoch=steps_per_epoch, updates=updates,
                    progress=progress, **parts)
    if plugin.by_layer and course.settled:
        raise SddError(f"{who} changes the number of weights, but says that each layer keeps its "
                       "own; set by_layer = False")
    return course


def check_moved(course: Course, step: int, found: Any, masks: Masks) -> dict[str, Tensor]:
    """Return the masks that a plugin returned at a step, if they are valid. masks: those before.

    Raises SddError for wrong names, shapes or counts, for exempt layers that change, and for groups
    of `pruner.pattern` of which only a part is kept.
    """
    who, where = course.who, f"at step {step} of level {course.level}"
    moved = prune.check_masks(found, masks, who)
    for name in course.exempt:
        if not torch.equal(moved[name], masks[name]):
            raise SddError(f"{who} changes the mask of the exempt layer {name!r} {where}")
    check_groups_whole(moved, course.exempt, course.rules, f"{who} {where}")
    by_layer, spare = course.plugin.by_layer, course.overshoot
    groups = [[name] for name in course.names] if by_layer else [course.names]
    for names in groups:
        kept = kept_and_size(moved, names)[0]
        wanted = kept_and_size(masks, names)[0] if by_layer else course.total(step)
        if not wanted - spare <= kept <= wanted:
            layers = names[0] if by_layer else "all layers together"
            raise SddError(f"{who} keeps {kept} weights of {layers} {where}; expected {wanted}")
    return moved


def check_values(course: Course, found: Any, grown: Masks) -> dict[str, Tensor]:
    """Return the start values of regrown weights that a plugin returned, if they are valid. Raises
    SddError for unknown layers, wrong shapes, and values of other weights than regrown ones."""
    who = course.who
    if not isinstance(found, Mapping) or not set(found) <= set(grown):
        raise SddError(f"{who}: values() did not return a mapping from layer to start values")
    values = {}
    for name, given in found.items():
        try:
            values[name] = dense_tensor(given).float()
        except TypeError as error:
            raise SddError(f"{who}: values of {name!r}: {error}; expected a tensor") from None
        if values[name].shape != grown[name].shape or not values[name].isfinite().all():
            raise SddError(f"{who}: values of {name!r} have shape {list(values[name].shape)}, or "
                           f"are not finite; expected finite ones of {list(grown[name].shape)}")
        if bool(values[name][~grown[name]].any()):
            raise SddError(f"{who} gives values to weights of {name!r} that did not regrow; "
                           "expected zero for them")
    return values


def check_memory(course: Course, state: Mapping[Any, Any]) -> dict[str, Tensor]:
    """Return a plugin's state as a checkpoint would give it back. Raises SddError if it has
    anything else than dense tensors of real numbers by name."""
    try:
        return plain_state(state, torch.device("cpu"))
    except TypeError as error:
        raise SddError(f"{course.who} keeps {error} in its state; checkpoints save only dense "
                       "tensors of real numbers, by name") from None


def _who(plugin: SparseTraining) -> str:
    return f"sparse training {label(plugin)!r}"

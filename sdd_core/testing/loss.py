"""Checks of losses."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sdd_core.testing.call import Check, call, call_twice, fault, unchanged

SCALES = (1.0, 30.0)
"""Scales of logits: of an untrained and of a confident network."""


def checks(plugin: Any) -> list[Check]:
    """Return the checks of a loss."""
    return Check.all(a_number, gradients, mean, hands_off, deterministic, about=(plugin,))


def a_number(plugin: Any) -> None:
    """It returns one finite number for a batch, and names its teacher"""
    if plugin.teacher not in {None, "dense", "previous"}:
        raise fault(plugin, f"has teacher {plugin.teacher!r}; expected None, 'dense' or 'previous'")
    for scale in SCALES:
        _value(plugin, *_batch(plugin, scale))


def gradients(plugin: Any) -> None:
    """Its gradient reaches the logits and is finite"""
    for scale in SCALES:
        logits, labels, teacher = _batch(plugin, scale)
        logits.requires_grad_()
        found = _value(plugin, logits, labels, teacher)
        if not found.requires_grad:
            raise fault(plugin, "has no gradient; compute it from the logits without detaching")
        found.backward()
        if logits.grad is None or not logits.grad.isfinite().all():
            raise fault(plugin, f"has a gradient that is not finite for logits of size {scale:g}")


def mean(plugin: Any) -> None:
    """It is a mean over the batch: twice the examples, the same loss"""
    logits, labels, teacher = _batch(plugin)
    once = _value(plugin, logits, labels, teacher)
    twice = _value(plugin, logits.repeat(2, 1), labels.repeat(2),
                   None if teacher is None else teacher.repeat(2, 1))
    if not torch.allclose(once, twice, rtol=1e-3, atol=1e-5):
        raise fault(plugin, f"gives {twice.item():.4g} for a doubled batch and {once.item():.4g} "
                            "for the batch itself; take the mean over examples")


def hands_off(plugin: Any) -> None:
    """It does not modify the logits, the labels or the teacher's logits"""
    given, before = _batch(plugin), _batch(plugin)
    call(plugin, "loss", *given)
    for what, old, new in zip(("logits", "labels", "teacher"), before, given, strict=True):
        unchanged(plugin, "loss", what, old, new)


def deterministic(plugin: Any) -> None:
    """Equal batches have equal losses"""
    call_twice(plugin, "loss", lambda: _batch(plugin))


def _value(plugin: Any, *batch: Tensor | None) -> Tensor:
    found = call(plugin, "loss", *batch)
    if not isinstance(found, Tensor) or found.dim() != 0:
        got = list(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise fault(plugin, f"loss() returned {got}; expected a tensor without dimensions")
    if not found.isfinite():
        raise fault(plugin, f"loss() is {found.item()} for finite logits")
    return found


def _batch(plugin: Any, scale: float = 1.0) -> tuple[Tensor, Tensor, Tensor | None]:
    draw = torch.Generator().manual_seed(0)
    logits, teacher = scale * torch.randn(2, 12, 5, generator=draw)
    return logits.clone(), torch.arange(12) % 5, None if plugin.teacher is None else teacher.clone()

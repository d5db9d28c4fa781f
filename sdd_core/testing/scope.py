"""Checks of scopes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, get_args

from sdd_core.level.layers import Side
from sdd_core.plugin.kinds.scope import Layer
from sdd_core.pruning.shares import checked_shares
from sdd_core.testing.call import Check, call, call_twice, fault

SHAPES = {"conv": (4, 3, 3, 3), "wide": (20, 16), "narrow": (2, 5), "last": (3, 20)}


def checks(plugin: Any) -> list[Check]:
    """Return the checks of a scope."""
    return Check.all(side, places, all_or_nothing, to_the_end, deterministic, about=(plugin,))


def side(plugin: Any) -> None:
    """Its attribute `within` is 'output', 'input' or None"""
    if plugin.within not in {None, *get_args(Side)}:
        raise fault(plugin, f"has within={plugin.within!r}; expected 'output', 'input' or None")


def places(plugin: Any) -> None:
    """Each layer is in one group, and no group loses more weights than it has"""
    for layers in _networks():
        for count in (_half, _none, _all):
            _shares(plugin, layers, count)


def all_or_nothing(plugin: Any) -> None:
    """If nothing is to be pruned nothing is, and if everything is, everything is"""
    for layers in _networks():
        kept = sum(layer.kept for layer in layers.values())
        for count, expected in ((_none, 0), (_all, kept)):
            gone = sum(number for _, number in _shares(plugin, layers, count))
            if gone != expected:
                raise fault(plugin, f"prunes {gone} of {kept} weights; expected {expected}")


def to_the_end(plugin: Any) -> None:
    """Repeated pruning removes weights each time until none is left"""
    layers = _layers(1.0)
    while kept := sum(layer.kept for layer in layers.values()):
        shares = _shares(plugin, layers, _half)
        if not any(number for _, number in shares):
            raise fault(plugin, f"prunes none of {kept} weights; expected half of them")
        for names, number in shares:
            left = number
            for name in names:  # as if the first layers had the lowest scores
                taken = min(left, layers[name].kept)
                layers[name] = layers[name]._replace(kept=layers[name].kept - taken)
                left -= taken


def deterministic(plugin: Any) -> None:
    """Equal layers have equal shares, and it does not modify its inputs"""
    call_twice(plugin, "shares", lambda: (_layers(0.5), _half))
    layers = _layers(0.5)
    call(plugin, "shares", layers, _half)
    if layers != _layers(0.5):
        raise fault(plugin, "shares() changes its argument `layers`; work on a copy")


def _shares(
    plugin: Any, layers: dict[str, Layer], count: Callable[[int, int], int]
) -> list[tuple[list[str], int]]:
    try:
        return checked_shares(plugin, layers, call(plugin, "shares", dict(layers), count))
    except Exception as error:
        raise fault(plugin, str(error).removeprefix(f"scope {plugin.name!r} ")) from error


def _networks() -> Iterator[dict[str, Layer]]:
    """Yield layers of networks: unpruned, half pruned, with an empty layer, and with one layer."""
    yield _layers(1.0)
    yield _layers(0.5)
    yield _layers(0.5) | {"narrow": Layer(0, SHAPES["narrow"])}
    yield {"conv": Layer(7, SHAPES["conv"])}


def _layers(density: float) -> dict[str, Layer]:
    whole = {name: Layer(0, shape) for name, shape in SHAPES.items()}
    return {name: Layer(round(density * layer.size), layer.shape) for name, layer in whole.items()}


def _half(kept: int, size: int) -> int:
    return (kept + 1) // 2


def _none(kept: int, size: int) -> int:
    return 0


def _all(kept: int, size: int) -> int:
    return kept

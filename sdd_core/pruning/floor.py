"""The weights that each layer keeps at least, checked before anything is trained."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from sdd_core.errors import SddError
from sdd_core.plugin.kinds import Scope
from sdd_core.plugin.kinds.scope import Layer
from sdd_core.pruning.selection import PRUNE_LESS, least
from sdd_core.pruning.shares import Shares, shares_of


def check_floor(
    layers: Mapping[str, Layer],
    scope: Scope,
    counts: Callable[[int], Callable[[int, int], int]],
    levels: int,
    keep_at_least: float,
    setting: str,
) -> None:
    """Raise SddError if it is known before training that some level must prune more weights than
    `keep_at_least` allows. counts: returns the `count` function of a level. setting: what requires
    this, for the message."""
    level = first_impossible(
        layers, lambda left, level: shares_of(scope, left, counts(level)), levels, keep_at_least
    )
    if level is not None:
        raise SddError(f"{setting} leaves too few weights for level {level} to prune; keep fewer, "
                       f"or {PRUNE_LESS}")


def first_impossible(
    layers: Mapping[str, Layer],
    shares: Callable[[Mapping[str, Layer], int], Shares],
    levels: int,
    keep_at_least: float,
) -> int | None:
    """Return the first level at which some group of layers must be pruned by more weights than
    `keep_at_least` allows, as far as that is known without scores; None if there is none.

    shares: returns the groups of a level, each with its number of weights to prune.
    """
    for level in range(1, levels + 1):
        groups = shares(layers, level)
        left = dict(layers)
        for names, number in groups:
            spare = {n: max(0, layers[n].kept - least(keep_at_least, layers[n].size))
                     for n in names}
            if number > sum(spare.values()):
                return level
            for name, taken in _taken(spare, number):
                left[name] = layers[name]._replace(kept=layers[name].kept - taken)
        if len(groups) > 1 and any(len(names) > 1 for names, _ in groups):
            return None  # the next level may depend on the layers' numbers, which scores decide
        layers = left
    return None


def _taken(spare: Mapping[str, int], number: int) -> Iterator[tuple[str, int]]:
    """Yield how much of a number is taken from each layer: as much as possible from the first."""
    for name, most in spare.items():
        yield name, min(most, number)
        number -= min(most, number)

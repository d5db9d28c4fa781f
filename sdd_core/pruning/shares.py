"""How many weights each group of layers whose scores compete loses: the shares of a scope."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from sdd_core.data.plain import whole
from sdd_core.errors import SddError
from sdd_core.level.masks import Masks, kept_and_size
from sdd_core.plugin.isolation import attribute_errors
from sdd_core.plugin.kinds import Scope, label
from sdd_core.plugin.kinds.scope import Layer
from sdd_core.pruning.selection import share

Shares = list[tuple[list[str], int]]
"""Groups of layers whose scores compete, each with its number of weights to prune."""


def by_fraction(fraction: float) -> Callable[[int, int], int]:
    """Return `count(kept, size)`, the number of weights to prune: a fraction of `kept`."""
    return lambda kept, size: share(fraction, kept)


def to_sparsity(sparsity: float) -> Callable[[int, int], int]:
    """Return `count(kept, size)`, the number of weights to prune to reach a sparsity of `size`."""
    return lambda kept, size: max(0, share(sparsity, size) - (size - kept))


def groups_of(scope: Scope, masks: Masks, names: Iterable[str]) -> list[list[str]]:
    """Return the groups of layers whose scores compete."""
    return [group for group, _ in shares_of(scope, layers_of(masks, names), by_fraction(0.0))]


def layers_of(masks: Masks, names: Iterable[str]) -> dict[str, Layer]:
    """Return the numbers of kept weights and the shapes of layers."""
    return {name: Layer(kept_and_size(masks, [name])[0], tuple(masks[name].shape))
            for name in names}


def shares_of(
    scope: Scope, layers: Mapping[str, Layer], count: Callable[[int, int], int]
) -> Shares:
    """Return groups of layers whose scores compete, each with its number of weights to prune.
    Raises SddError for an invalid scope."""
    with attribute_errors(scope):
        return checked_shares(scope, layers, scope.shares(dict(layers), count))


def checked_shares(
    scope: Scope, layers: Mapping[str, Layer], found: Iterable[tuple[Iterable[str], int]]
) -> Shares:
    """Return the groups of a scope that have layers. Raises SddError if a layer is not in exactly
    one group, or if a number is larger than the group."""
    shares = [(list(names), whole(number)) for names, number in found]
    if sorted(name for names, _ in shares for name in names) != sorted(layers):
        raise SddError(f"scope {label(scope)!r} does not put each layer into one group; expected "
                       f"{', '.join(layers)}, each once")
    for names, number in shares:
        if scope.within is not None and len(names) > 1:
            raise SddError(f"scope {label(scope)!r} compares scores within each {scope.within} of "
                           f"a layer, but puts {', '.join(names)} together; expected each layer "
                           "alone")
        kept = sum(layers[name].kept for name in names)
        if not 0 <= number <= kept:
            raise SddError(f"scope {label(scope)!r} prunes {number} weights of {', '.join(names)}; "
                           f"expected 0 to {kept}, the number of remaining weights")
    return [(names, number) for names, number in shares if names]

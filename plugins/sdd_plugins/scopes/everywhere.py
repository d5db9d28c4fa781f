from collections.abc import Callable, Mapping

from sdd_core import Layer, Scope


class Global(Scope):
    """All layers compete: prune the lowest scores of the whole network."""

    name = "global"

    def shares(
        self, layers: Mapping[str, Layer], count: Callable[[int, int], int]
    ) -> list[tuple[list[str], int]]:
        kept = sum(layer.kept for layer in layers.values())
        return [(list(layers), count(kept, sum(layer.size for layer in layers.values())))]

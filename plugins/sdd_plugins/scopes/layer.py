from collections.abc import Callable, Mapping

from sdd_core import Layer, Scope


class Layerwise(Scope):
    """Uniform: prune the same fraction of each layer's weights."""

    name = "layer"

    def shares(
        self, layers: Mapping[str, Layer], count: Callable[[int, int], int]
    ) -> list[tuple[list[str], int]]:
        return [([name], count(layer.kept, layer.size)) for name, layer in layers.items()]

from collections.abc import Callable, Mapping

from sdd_core import Layer, Scope


class Layerwise(Scope):
    """Uniform: each layer loses an equal share of its own weights."""

    name = "layer"

    def shares(
        self, layers: Mapping[str, Layer], count: Callable[[int, int], int]
    ) -> list[tuple[list[str], int]]:
        return [([name], count(layer.kept, layer.size)) for name, layer in layers.items()]

"""What the kernels know of a network: its operations, and the shapes of its parameters."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Convolution:
    """From one map to another. Square, without bias, padded by half its size.

    layer: numbers the convolutions.
    """

    source: int
    target: int
    layer: int
    kernel: int
    stride: int


@dataclass(frozen=True)
class Normalisation:
    """target = relu(norm(source) + rest); the rest is nothing, a map, or another norm of one."""

    target: int
    source: int
    norm: int
    other: int | None = None
    other_norm: int | None = None

    def normed(self) -> list[tuple[int, int]]:
        """The maps that are normalised, and by which norm."""
        first = (self.source, self.norm)
        if self.other is None or self.other_norm is None:
            return [first]
        return [first, (self.other, self.other_norm)]


@dataclass(frozen=True)
class NormConstants:
    """Of a batch normalisation, as in torch."""

    momentum: float
    epsilon: float


@dataclass(frozen=True)
class Linear:
    """A linear layer."""

    inputs: int
    outputs: int
    biased: bool = True


@dataclass(frozen=True)
class Architecture:
    """A network that the kernels train.

    Linear layers with ReLU between them. They read the images or, in a residual network, the mean
    over the pixels of the last map; then there is one of them. Map 0 holds the images, and each
    operation makes one more map.

    Attributes:
        linears: first to last.
        operations: in the order of the forward pass; none for a perceptron.
        sizes: channels and width (= height) of each map; widths are multiples of 4.
        norms: by the numbers that operations have for them.
        parameters: their names in the model: the weight of each convolution, then weight and bias
            of each normalisation, then weight and bias, if any, of each linear layer.
        modules: names of the normalisations.
    """

    linears: tuple[Linear, ...]
    operations: tuple[Convolution | Normalisation, ...] = ()
    sizes: tuple[tuple[int, int], ...] = ()
    norms: tuple[NormConstants, ...] = ()
    parameters: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()

    @property
    def convolutions(self) -> list[Convolution]:
        """The convolutions among the operations."""
        return [part for part in self.operations if isinstance(part, Convolution)]

    @property
    def activations(self) -> list[Normalisation]:
        """The normalisations among the operations, each followed by ReLU."""
        return [part for part in self.operations if isinstance(part, Normalisation)]

    @property
    def features(self) -> int:
        """How many numbers an image has."""
        if not self.sizes:
            return self.linears[0].inputs
        channels, size = self.sizes[0]
        return channels * size * size

    def shapes(self) -> list[tuple[int, ...]]:
        """Those of the parameters, in their order."""
        found: list[tuple[int, ...]] = [
            (self.sizes[part.target][0], self.sizes[part.source][0], part.kernel, part.kernel)
            for part in self.convolutions
        ]
        channels = {norm: self.sizes[source][0]
                    for part in self.activations for source, norm in part.normed()}  # fmt: skip
        for norm in range(len(self.norms)):
            found += [(channels[norm],)] * 2
        for linear in self.linears:
            found.append((linear.outputs, linear.inputs))
            found += [(linear.outputs,)] * linear.biased
        return found

    def weights(self) -> list[int]:
        """Where in `parameters` the weights of convolutions and linear layers are."""
        return [i for i, shape in enumerate(self.shapes()) if len(shape) > 1]

    def pixels(self) -> list[int]:
        """How many pixels the result of each convolution has."""
        return [self.sizes[part.target][1] ** 2 for part in self.convolutions]

from collections.abc import Callable, Mapping, Sequence

from sdd_core import Layer, Scope


class Erk(Scope):
    """Erdős-Rényi-Kernel: smaller layers stay denser.

    As many weights are pruned as with 'global'; within each layer, those with the lowest scores.
    """

    name = "erk"
    source = (
        "Mocanu et al., 2018, arXiv:1707.04780; kernels: Evci et al., 2020, arXiv:1911.11134, "
        "sec. 3"
    )

    def shares(
        self, layers: Mapping[str, Layer], count: Callable[[int, int], int]
    ) -> list[tuple[list[str], int]]:
        kept = {name: layer.kept for name, layer in layers.items()}
        left = sum(kept.values())
        left -= count(left, sum(layer.size for layer in layers.values()))
        keeps = erk({name: layer.shape for name, layer in layers.items()}, kept, left)
        return [([name], kept[name] - keeps[name]) for name in layers]


def erk(
    shapes: Mapping[str, Sequence[int]], kept: Mapping[str, int], total: int
) -> dict[str, int]:
    """How many of `total` weights each layer keeps, in proportion to the sum of its dimensions.

    Erdős-Rényi-Kernel: the density of a layer is proportional to (inputs + outputs + kernel
    sizes) / (their product), so that small layers stay denser. No layer gets back what it has
    lost: where its share is more than the `kept` it has, the others take what is left over. What
    whole numbers leave goes to the largest remainders, of equal ones the first.
    """
    weight = {name: sum(shape) for name, shape in shapes.items()}
    shares: dict[str, int] = {}
    open_ = list(shapes)
    left = total
    while open_:
        whole = sum(weight[name] for name in open_)
        full = [name for name in open_ if left * weight[name] >= kept[name] * whole]
        if not full:
            break
        shares |= {name: kept[name] for name in full}
        left -= sum(kept[name] for name in full)
        open_ = [name for name in open_ if name not in shares]
    if open_:
        whole = sum(weight[name] for name in open_)
        shares |= {name: left * weight[name] // whole for name in open_}
        rest = left - sum(shares[name] for name in open_)
        by_remainder = sorted(open_, key=lambda name: -(left * weight[name] % whole))
        for name in by_remainder[:rest]:
            shares[name] += 1
    return {name: shares[name] for name in shapes}

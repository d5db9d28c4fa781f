"""The form in which the kernels of single layers are recorded: `LAYER=KERNEL`."""

from __future__ import annotations

from collections.abc import Iterable

SEPARATOR = "="


def by_layer(kernels: Iterable[str]) -> bool:
    """Return whether these are kernels of single layers, not those of a whole network."""
    return any(SEPARATOR in kernel for kernel in kernels)

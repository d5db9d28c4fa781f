"""Room for maps and their gradients."""

from __future__ import annotations


class Memory:
    """Vectors, handed out one stretch after the other; what is given back is used again."""

    def __init__(self) -> None:
        self.size = 0
        self._free: dict[int, list[int]] = {}

    def take(self, vectors: int) -> int:
        """Return where a stretch of so many vectors begins."""
        stock = self._free.get(vectors)
        if stock:
            return stock.pop()
        self.size += vectors
        return self.size - vectors

    def give_back(self, start: int, vectors: int) -> None:
        """Let a stretch of this size be used again."""
        self._free.setdefault(vectors, []).append(start)

"""Named streams of randomness: one for each purpose, never one that others have drawn from."""

import functools
import hashlib
from contextlib import AbstractContextManager

import torch


def stream_seed(seed: int, *path: str | int) -> int:
    """A 63-bit seed that depends on `seed` and the named `path` alone.

    What was drawn before, in which order, and by which process does not matter: a resumed level
    draws exactly what an uninterrupted one would have drawn.
    """
    name = "/".join(str(part) for part in (seed, *path))
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *path: str | int) -> torch.Generator:
    """A CPU generator for one purpose, for example `generator(seed, "order", level, epoch)`.

    Draw on the CPU and move the result: then a GPU sees the same numbers.
    """
    return torch.Generator().manual_seed(stream_seed(seed, *path))


def seed_torch(seed: int) -> None:
    """`torch.manual_seed`, without the milliseconds that it takes to prepare devices not in use."""
    torch.default_generator.manual_seed(seed)
    if _gpus():
        torch.cuda.manual_seed_all(seed)


def fork_random_state() -> AbstractContextManager[None]:
    """What is drawn inside from torch's global generators changes nothing outside."""
    return torch.random.fork_rng(devices=_gpus())


@functools.cache
def _gpus() -> tuple[int, ...]:
    # torch asks the driver every time, which takes longer than a small training step.
    return tuple(range(torch.cuda.device_count()))

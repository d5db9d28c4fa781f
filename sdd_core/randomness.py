"""Named random streams: one for each purpose, independent of all others."""

import functools
import hashlib
from contextlib import AbstractContextManager

import torch


def stream_seed(seed: int, *path: str | int) -> int:
    """Return a 63-bit seed that depends only on `seed` and the named `path`.

    It does not depend on earlier draws or on the process, so a resumed level draws exactly the same
    numbers as an uninterrupted one.
    """
    name = "/".join(str(part) for part in (seed, *path))
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *path: str | int) -> torch.Generator:
    """Return a CPU generator for one purpose, for example `generator(seed, "order", level, epoch)`.

    Draw on the CPU and move the result, so that a GPU gets the same numbers.
    """
    return torch.Generator().manual_seed(stream_seed(seed, *path))


def seed_torch(seed: int) -> None:
    """Seed torch like `torch.manual_seed`, but without preparing unused devices, which takes
    milliseconds."""
    torch.default_generator.manual_seed(seed)
    if _gpus():
        torch.cuda.manual_seed_all(seed)


def fork_random_state() -> AbstractContextManager[None]:
    """Return a context that restores the state of torch's global generators at its end."""
    return torch.random.fork_rng(devices=_gpus())


@functools.cache
def _gpus() -> tuple[int, ...]:
    # Cached, because torch asks the driver each time, which is slower than a small training step.
    return tuple(range(torch.cuda.device_count()))

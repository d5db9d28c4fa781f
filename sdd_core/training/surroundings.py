"""The device and the random state in which networks are trained and measured."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from sdd_core.errors import SddError
from sdd_core.randomness import fork_random_state


def usable_device(wanted: torch.device | str | None) -> torch.device:
    """Return a device; None means a GPU if there is one. Raises SddError if it cannot be used."""
    if wanted is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(wanted)
        torch.zeros(1, device=device).cpu()
    except Exception as error:  # each kind of device raises another exception
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise SddError(f"cannot use device {str(wanted)!r}: {reason}") from None
    return device


@contextmanager
def isolated_randomness() -> Iterator[None]:
    """Keep the caller's random state unchanged, and make convolutions on a GPU deterministic."""
    with fork_random_state(), torch.backends.cudnn.flags(deterministic=True, benchmark=False):
        yield

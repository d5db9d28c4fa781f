"""Which instructions a level is computed with: they decide its last bits."""

from __future__ import annotations

import torch


def of_torch(device: torch.device) -> str:
    """Return the vector instructions that torch uses on the CPU, such as avx2 or avx512, or the
    kind of device, such as cuda."""
    if device.type != "cpu":
        return device.type
    return torch.backends.cpu.get_cpu_capability().lower()


def of_kernels() -> str:
    """Return the vector instructions that the sparse kernels are compiled for: on this machine, or
    as NUMBA_CPU_FEATURES says."""
    # Here, because it imports numba, which may be missing.
    from sdd_core.sparse.processor import architecture, instruction_set  # noqa: PLC0415

    found = instruction_set()
    return architecture() if found == "other" else found

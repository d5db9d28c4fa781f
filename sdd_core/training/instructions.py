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
    from numba.core.registry import cpu_target  # noqa: PLC0415 (may be missing)

    triple, _, features = cpu_target.target_context.codegen().magic_tuple()
    found = set(features.split(","))
    if "+avx512f" in found:
        return "avx512"
    if "+avx2" in found:
        return "avx2"
    return "neon" if triple.startswith(("aarch64", "arm64")) else triple.partition("-")[0]

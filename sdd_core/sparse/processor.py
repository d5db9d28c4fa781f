"""What the kernels must know of the processor: how large its vector registers are."""

from __future__ import annotations

from numba.core.registry import cpu_target

# Registers that a tile of examples takes: half of sixteen, as AVX2 and SSE have, and a quarter of
# what AVX-512 and NEON have. A kernel holds two tiles at most, one of them in the cache if need be.
REGISTERS = 8

# float32 numbers in a register. What is not known is taken for the smallest that there is.
_NUMBERS = {"avx512": 16, "avx2": 8, "neon": 4, "other": 4}


def instruction_set() -> str:
    """Return "avx512", "avx2", "neon" or "other" (such as SSE): what numba compiles for, on this
    machine or as NUMBA_CPU_NAME and NUMBA_CPU_FEATURES say."""
    present = set(_target()[1].split(","))
    if "+avx512f" in present:
        return "avx512"
    if {"+avx2", "+fma"} <= present:
        return "avx2"
    return "neon" if architecture().startswith(("aarch64", "arm64")) else "other"


def architecture() -> str:
    """Return the kind of processor that numba compiles for, such as "x86_64"."""
    return _target()[0].partition("-")[0]


def _target() -> tuple[str, str]:
    """Return the triple of the processor and its features, as numba has them."""
    triple, _, features = cpu_target.target_context.codegen().magic_tuple()
    return triple, features


def tile_width(instructions: str | None = None) -> int:
    """Return how many examples the kernels work on at a time, at most.

    instructions: as from `instruction_set` (None: this processor's).
    """
    return REGISTERS * _NUMBERS[instructions or instruction_set()]

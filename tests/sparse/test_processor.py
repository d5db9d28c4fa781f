"""The width of a tile, and that kernels hold their sums in registers of that number and size."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys

import numba
import numpy as np
import pytest
from llvmlite import binding
from numba.core.registry import cpu_target

from sdd_core.sparse.architecture import Architecture, Linear
from sdd_core.sparse.barrier import ALONE
from sdd_core.sparse.kernels import linear
from sdd_core.sparse.kernels.records import Net
from sdd_core.sparse.network import aligned
from sdd_core.sparse.plan import make_plan
from sdd_core.sparse.processor import instruction_set, tile_width
from sdd_core.sparse.simd import Lanes

PRODUCT = re.compile(r"\b(fmla|vfmadd\w*ps|v?mulps)\b")
SPILL = re.compile(r"\b(str|stp|stur)\s+q\d.*\[sp|\bv?mov[au]ps\s+%[xyz]mm\d+, .*\(%rsp")
JUMP = re.compile(r"(?:j\w+|b\.?\w*|cbn?z|tbn?z)\s.*?([.$\w]+)$")


@pytest.mark.parametrize(
    ("triple", "features", "name", "width"),
    [
        ("x86_64-pc-linux", "+sse2,+avx2,+fma,+avx512f", "avx512", 128),
        ("x86_64-pc-linux", "+sse2,+avx2,+fma,-avx512f", "avx2", 64),
        ("x86_64-pc-linux", "+sse2,+avx2", "other", 32),
        ("x86_64-pc-linux", "+sse2,+avx", "other", 32),
        ("arm64-apple-darwin", "", "neon", 32),
        ("aarch64-unknown-linux-gnu", "+neon,+sve", "neon", 32),
        ("riscv64-unknown-linux-gnu", "+v", "other", 32),
        ("", "", "other", 32),
    ],
)
def test_the_tile_follows_the_instruction_set(triple, features, name, width, monkeypatch):
    monkeypatch.setattr(
        type(cpu_target.target_context.codegen()), "magic_tuple",
        lambda self: (triple, "any", features),
    )  # fmt: skip
    assert instruction_set() == name
    assert tile_width() == tile_width(name) == width


def test_the_instruction_set_is_the_one_that_numba_is_told_to_use():
    program = "from sdd_core.sparse.processor import *; print(instruction_set(), tile_width())"
    environment = os.environ | {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+avx2,+fma"}
    for variables, expected in (
        (environment, "avx2 64"),
        (environment | {"NUMBA_CPU_FEATURES": ""}, "other 32"),
    ):
        done = subprocess.run([sys.executable, "-c", program], env=variables, check=True,
                              capture_output=True, text=True)  # fmt: skip
        assert done.stdout.strip() == expected


def machine_codes(width: int, triple: str, cpu: str) -> dict[str, str]:
    """The assembly of the sparse kernels, compiled for another processor."""
    kept = np.random.default_rng(0).random((30, 40)) < 0.5
    plan = make_plan(Architecture((Linear(40, 30),)), [kept, np.ones(30, bool)], ["sparse"])
    numbers, lanes = np.zeros(plan.packing.size, np.float32), Lanes(width)
    net = Net(plan.linears, plan.convolutions, plan.activations, plan.norms, plan.index,
              plan.features, numbers, np.zeros((2, 0), np.float32))  # fmt: skip
    units, layer = aligned(plan.vectors * width, np.float32), plan.linears[0]
    calls = {
        linear.sparse_forward: (layer, net, units, False, ALONE, lanes),
        linear.sparse_backward: (layer, net, numbers.copy(), units, False, ALONE, lanes),
    }
    binding.initialize_all_targets()
    binding.initialize_all_asmprinters()
    target = binding.Target.from_triple(triple).create_target_machine(cpu=cpu, opt=3)
    codes = {}
    for kernel, arguments in calls.items():
        # Without the cache, which keeps no intermediate code.
        fresh = numba.njit(kernel.py_func, nogil=True, error_model="numpy")
        fresh(*arguments)
        [text] = fresh.inspect_llvm().values()
        for ours in (r"target (triple|datalayout) = .*", r'"target-(cpu|features)"="[^"]*"'):
            text = re.sub(ours, "", text)
        # numba's counts of references, outside of all loops, are x86's instructions by now.
        text = re.sub(r"(\w+ )?call i8 @llvm\.x86\.atomic.*", "add i8 0, 0", text)
        module = binding.parse_assembly(text)
        module.triple, module.data_layout = triple, str(target.target_data)
        codes[fresh.py_func.__name__] = target.emit_assembly(module)
    return codes


def inner_loops(code: str) -> list[list[str]]:
    """The blocks that end with a jump to their beginning and multiply vectors."""
    found, block, label = [], [], ""
    for line in (line.strip() for line in code.splitlines()):
        if re.match(r"[.$\w]+:", line):
            label, block = line.partition(":")[0], []
        block.append(line)
        jump = JUMP.match(line)
        if jump and jump[1] == label and any(PRODUCT.search(each) for each in block):
            found.append(block)
    return found


def spills(width: int, triple: str, cpu: str) -> list[int]:
    """How many vectors each inner loop of the kernels writes to the stack."""
    loops = {name: inner_loops(code) for name, code in machine_codes(width, triple, cpu).items()}
    assert len(loops["sparse_forward"]) >= 1
    assert len(loops["sparse_backward"]) >= 2
    return [sum(bool(SPILL.search(line)) for line in loop)
            for found in loops.values() for loop in found]  # fmt: skip


@pytest.mark.slow
@pytest.mark.skipif(platform.machine().lower() not in {"x86_64", "amd64"},
                    reason="numba's intermediate code has instructions of this machine")
@pytest.mark.parametrize(
    ("name", "triple", "cpu"),
    [
        ("avx512", "x86_64-unknown-linux-gnu", "skylake-avx512"),
        ("avx2", "x86_64-unknown-linux-gnu", "haswell"),
        ("other", "x86_64-unknown-linux-gnu", "nehalem"),
        ("neon", "aarch64-unknown-linux-gnu", "neoverse-n1"),
        ("neon", "aarch64-unknown-linux-gnu", "apple-m1"),
    ],
)
def test_no_sum_leaves_the_registers_in_an_inner_loop(name, triple, cpu):
    assert not any(spills(tile_width(name), triple, cpu))
    if name != "avx512":  # a larger tile does not fit, so the test can see it
        assert any(spills(4 * tile_width(name), triple, cpu))

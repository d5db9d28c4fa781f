"""Kernels are compiled ahead in another process, and nothing depends on whether that worked."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from support import small

import sdd_core
from sdd_core.cli import main
from sdd_core.sparse import ahead
from sdd_core.sparse.ahead import Needed
from sdd_core.sparse.architecture import Architecture, Linear
from sdd_core.sparse.compiling import compile_kernels
from sdd_core.sparse.network import Network, SgdSettings, State
from sdd_core.sparse.perceptron import Perceptron
from sdd_core.sparse.residual import ResidualNetwork

from .residual import ResNet
from .test_cache import kernels
from .test_residual import architecture_of

PROGRAM = """
import sys
from sdd_core.sparse import ahead
needed, told = ahead.Needed(8), []
ahead.start(needed)
ahead.wait(needed, lambda: told.append("told"))
print(len(ahead._processes), *told, ahead.is_cached(needed))
from sdd_core.sparse.compilation import _FUNCTIONS
from sdd_core.sparse.compiling import compile_kernels
compile_kernels(needed)
print(sum(sum(one.stats.cache_misses.values()) for one in _FUNCTIONS), "torch" in sys.modules)
"""


def python(program: str, **environment: str) -> list[str]:
    """Run a program in a process of its own; the lines of its output."""
    done = subprocess.run([sys.executable, "-c", program], env={**os.environ, **environment},
                          check=True, capture_output=True, text=True)
    return done.stdout.splitlines()


@pytest.mark.slow
def test_another_process_compiles_everything_and_the_next_run_finds_it(tmp_path):
    where = {"NUMBA_CACHE_DIR": str(tmp_path)}
    # Nor does it import torch, which takes a good part of the time.
    assert python(PROGRAM, **where) == ["1 told True", "0 False"]
    assert python(PROGRAM, **where) == ["0 True", "0 False"]
    # A note on code that is gone counts for nothing.
    next(tmp_path.rglob("*.nbi")).unlink()
    assert python(PROGRAM, **where)[0] == "1 told True"


@pytest.mark.slow
def test_the_compiling_process_ends_with_the_one_that_started_it(tmp_path):
    command = [sys.executable, "-m", ahead.COMPILER, "[8, 0]"]
    process = subprocess.Popen(command, env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)},
                               stdin=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait() == 1
    assert not list(tmp_path.glob("*.json"))


@pytest.fixture
def nothing_compiled(monkeypatch, tmp_path):
    """As if this process were new, on a machine without compiled code."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))
    for name, value in (("_processes", {}), ("_ready", set())):
        monkeypatch.setattr(ahead, name, value)


def test_a_compiling_process_that_fails_changes_nothing(nothing_compiled, monkeypatch):
    monkeypatch.setattr(ahead, "COMPILER", "sdd_core.sparse.no_such_module")
    needed, told = Needed(8), []
    ahead.start(needed)
    ahead.wait(needed, lambda: told.append(needed))
    assert ahead._processes[needed].returncode
    assert told == [needed]
    ahead.wait(needed, lambda: told.append(needed))
    assert told == [needed]


def test_where_nothing_can_be_kept_no_process_starts(nothing_compiled, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "file" / "x"))
    ahead.start(Needed(8))
    assert not ahead._processes


@pytest.mark.parametrize("content", [b"", b"junk", b"[]", b"7", b'["gone"]', b"[3.5]"])
def test_a_damaged_note_counts_for_nothing(nothing_compiled, content):
    place = ahead.folder()
    assert place is not None
    (place / ahead.file_of(Needed(8))).write_bytes(content)
    assert not ahead.is_cached(Needed(8))


def test_a_run_says_that_it_waits_for_kernels(nothing_compiled, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(ahead, "COMPILER", "sdd_core.sparse.no_such_module")
    sdd_core.run(small(levels=1), store=tmp_path, device="cpu", progress=True)
    assert capsys.readouterr().err.splitlines().count("compiling kernels ...") == 1


@pytest.mark.parametrize(("options", "needed"), [
    ([], [Needed(128)]),
    (["--train.batch_size=50"], [Needed(64)]),
    (["--train.batch_size=many"], []),
    (["--kernels=none"], []),
    (["--device=cuda"], []),
    (["--model=resnet20"], []),
])
def test_the_command_begins_with_the_kernels_of_the_default_model(monkeypatch, options, needed):
    started: list[Needed] = []
    monkeypatch.setattr(ahead, "start", started.append)
    assert CliRunner().invoke(main, ["run", "--levels=-1", *options]).exit_code == 2
    assert started == needed


@pytest.mark.slow
def test_the_command_begins_with_them_before_it_imports_torch():
    program = ("import sys; from sdd_core.sparse import ahead; from sdd_core.cli import main;"
               "ahead.start = lambda needed: print('torch' in sys.modules, 'numba' in sys.modules);"
               "main(['run', '--levels=-1'], standalone_mode=False)")
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True,
                          text=True)
    assert done.stdout.splitlines() == ["False False"]


def zeros(architecture: Architecture, kind: type[Network]) -> Network:
    channels = {norm: architecture.sizes[source][0] for part in architecture.activations
                for source, norm in part.normed()}
    norms = [(np.zeros(channels[norm]), np.ones(channels[norm])) for norm in sorted(channels)]
    parameters = [np.zeros(shape, np.float32) for shape in architecture.shapes()]
    return kind(architecture, State(parameters, None, norms), [None] * len(parameters),
                SgdSettings(0.9, 1e-4), None, 2)


@pytest.mark.slow
@pytest.mark.parametrize("batch_size", [8, 50, 65, 128])
def test_a_perceptron_needs_no_other_code(batch_size):
    architecture = Architecture((Linear(20, 6), Linear(6, 7, biased=False), Linear(7, 3)))
    check(architecture, Perceptron, batch_size)


@pytest.mark.slow
@pytest.mark.parametrize("size", [16, 32])
def test_a_residual_network_needs_no_other_code(size):
    architecture = architecture_of(ResNet().float(), size)
    check(architecture, ResidualNetwork, 16)


def check(architecture: Architecture, kind: type[Network], batch_size: int) -> None:
    """Train a network after its code was compiled by a tiny one: nothing more is compiled."""
    compile_kernels(Needed.by(architecture, batch_size))
    before = {id(one): list(one.signatures) for one in kernels()}
    network = zeros(architecture, kind)
    images = np.ones((40, architecture.features), np.float32)
    labels = np.zeros(40, np.int64)
    network.train_epoch(images, labels, np.arange(40)[::-1].copy(), batch_size,
                        [0.1] * -(-40 // batch_size))
    network.evaluate(images[:30], labels[:30])
    assert {id(one): list(one.signatures) for one in kernels()} == before

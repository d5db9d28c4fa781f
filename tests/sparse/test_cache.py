"""Compiled code is kept between processes, wherever the package lies."""

from __future__ import annotations

import importlib
import inspect
import os
import pkgutil
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import pytest
from numba.core.caching import FunctionCache
from numba.core.dispatcher import Dispatcher

import sdd_core.sparse
from sdd_core.sparse import compilation
from sdd_core.sparse.compilation import compiled
from sdd_core.sparse.kernels.records import NARROW, PIXEL, WIDE, Workspace
from sdd_core.sparse.sources import source_digest

PROGRAM = """
import numpy as np
from sdd_core.sparse.architecture import Architecture, Linear
from sdd_core.sparse.kernels.perceptron import train
from sdd_core.sparse.network import SgdSettings, State
from sdd_core.sparse.perceptron import Perceptron
random = np.random.default_rng(0)
weight = random.standard_normal((3, 20)).astype(np.float32)
network = Perceptron(
    Architecture((Linear(20, 3, biased=False),)), State([weight]), [None], SgdSettings(0.9, 0.0)
)
images = random.standard_normal((8, 20)).astype(np.float32)
network.train_epoch(images, np.zeros(8, np.int64), np.arange(8), 8, [0.1])
print(sum(train.stats.cache_hits.values()), train.stats.cache_path)
"""

SOURCE = Path(sdd_core.sparse.__file__).parent


def kernels() -> list[Dispatcher]:
    """All compiled functions of the package."""
    modules = pkgutil.walk_packages([str(SOURCE)], "sdd_core.sparse.")
    found = [value for module in modules
             for value in vars(importlib.import_module(module.name)).values()
             if isinstance(value, Dispatcher)]  # fmt: skip
    return list({id(kernel): kernel for kernel in found}.values())


def depends_on_another_file(kernel: Dispatcher, seen: frozenset[int] = frozenset()) -> bool:
    """Whether a function, or one of its file that it calls, uses something of another file of
    the package."""
    function = kernel.py_func
    module = inspect.getmodule(function)
    used = {name: vars(module)[name] for name in function.__code__.co_names if name in vars(module)}
    imported = vars(importlib.import_module("sdd_core.sparse.compilation"))
    for name, value in used.items():
        if isinstance(value, Dispatcher) and value.py_func.__module__ == function.__module__:
            if id(value) not in seen and depends_on_another_file(value, seen | {id(kernel)}):
                return True
        elif name not in imported and _comes_from_the_package(value, name, module):
            return True
    return False


def _comes_from_the_package(value: object, name: str, module: object) -> bool:
    """Whether a module has a name from another file of the package."""
    source = inspect.getsource(module)
    imports = re.split("@(?:compiled|inner)\n", source)[0]
    return f"    {name},\n" in imports or any(
        line.startswith("from sdd_core.sparse") and name in line.replace(",", " ").split()
        for line in imports.splitlines()
    )


def test_what_uses_another_file_is_compiled_anew_when_that_changes():
    """The digest of all sources is in the type of `Lanes`; see `source_digest`."""
    dependent = [kernel.py_func for kernel in kernels() if depends_on_another_file(kernel)]
    names = {function.__name__ for function in dependent}
    assert {"train", "evaluate", "layer_forward", "convolve", "descend", "group_of"} <= names
    for function in dependent:
        assert {"lanes", "pixel", "space"} & set(inspect.signature(function).parameters), function
    space = numba.typeof(Workspace(*[np.zeros(1)] * 7, WIDE, NARROW, PIXEL))
    for carrier in (numba.typeof(PIXEL), space):
        assert str(source_digest()) in str(carrier)


def test_a_kernel_that_uses_no_other_file_is_told_apart():
    names = {k.py_func.__name__ for k in kernels() if not depends_on_another_file(k)}
    assert {"share", "wait", "within", "statistics", "bias"} <= names
    assert compiled.__name__ not in names


def test_what_has_no_wrapper_for_python_says_so():
    inside = [kernel for kernel in kernels() if isinstance(kernel, compilation._Inner)]
    assert {"bias", "sparse_forward", "wait"} <= {kernel.py_func.__name__ for kernel in inside}
    for kernel in inside:
        name = kernel.py_func.__name__
        with pytest.raises(TypeError, match=f"{name} is for other compiled functions"):
            kernel(*inspect.signature(kernel.py_func).parameters)


def _run(package: Path, home: Path) -> tuple[str, Path]:
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(package),
        "HOME": str(home),
        "XDG_CACHE_HOME": str(home / "cache"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    output = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=environment,
        cwd=home,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    return output[0], Path(output[1])


@pytest.mark.slow
def test_a_second_process_compiles_nothing_though_the_package_cannot_be_written(tmp_path):
    source = SOURCE.parent
    package, home = tmp_path / "site-packages", tmp_path / "home"
    home.mkdir()
    shutil.copytree(source, package / "sdd_core", ignore=shutil.ignore_patterns("__pycache__"))
    # A file in the place of __pycache__ keeps even root from writing there.
    for folder in (package / "sdd_core" / "sparse").rglob("*/"):
        (folder / "__pycache__").touch()
    (package / "sdd_core" / "sparse" / "__pycache__").touch()
    hits, path = _run(package, home)
    assert hits == "0"
    assert path.is_relative_to(home)
    assert _run(package, home) == ("1", path)


SMALL = """
import sys
from pathlib import Path
from sdd_core.sparse.compilation import compiled

@compiled
def double(x):
    return 2 * x

@compiled
def triple(x):
    return 3 * x

assert (double(2), triple(2), double(2.5)) == (4, 6, 5.0)
print(sum(double.stats.cache_hits.values()))
"""


def _small(folder: Path, **environment: str) -> tuple[str, list[str]]:
    """Run two small kernels in a process of their own: how often one was found compiled, and the
    lines on standard error."""
    (folder / "small.py").write_text(SMALL)
    done = subprocess.run(
        [sys.executable, str(folder / "small.py")],
        env={"PATH": os.environ["PATH"], "HOME": str(folder / "home"), **environment},
        check=True, capture_output=True, text=True,
    )
    return done.stdout.strip(), done.stderr.splitlines()


@pytest.mark.slow
@pytest.mark.parametrize("home", ["home", "file/home"])
def test_where_nothing_can_be_written_kernels_compile_in_memory_and_say_so_once(tmp_path, home):
    (tmp_path / "file").touch()
    (tmp_path / "__pycache__").touch()
    # A file in the place of a folder keeps even root from writing there.
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / ".cache").touch()
    nowhere = str(tmp_path / "file" / "x")
    hits, said = _small(tmp_path, HOME=str(tmp_path / home), NUMBA_CACHE_DIR=nowhere,
                        XDG_CACHE_HOME=nowhere)
    assert hits == "0"
    [line] = said
    assert "cannot be kept" in line
    assert "NUMBA_CACHE_DIR" in line


@pytest.mark.slow
@pytest.mark.parametrize("content", [b"", b"junk", b"\x80\x04."], ids=["empty", "junk", "pickle"])
@pytest.mark.parametrize("kind", ["nbi", "nbc"])
def test_damaged_machine_code_is_compiled_anew(tmp_path, content, kind):
    cache = tmp_path / "cache"
    assert _small(tmp_path, NUMBA_CACHE_DIR=str(cache)) == ("0", [])
    files = list(cache.rglob(f"*.{kind}"))
    assert files
    for file in files:
        file.write_bytes(content)
    hits, said = _small(tmp_path, NUMBA_CACHE_DIR=str(cache))
    assert hits == "0"
    assert len(said) <= 1
    assert _small(tmp_path, NUMBA_CACHE_DIR=str(cache)) == ("2", [])


@pytest.mark.slow
def test_a_disk_that_fills_while_machine_code_is_kept_ends_nothing(tmp_path, monkeypatch, capsys):
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(FunctionCache, "save_overload", full)
    monkeypatch.setattr(compilation, "_SAID", [])
    kernels = [compilation.compiled(lambda x: x + 1), compilation.compiled(lambda x: x + 2)]
    assert [kernel(1) for kernel in kernels] == [2, 3]
    assert capsys.readouterr().err.count("No space left on device") == 1

"""The commands and the Python on the pages of `docs` do what the pages say they do.

Of each page, in the order in which they stand there and in one folder:

- a `console` block is executed: lines that begin with `$ ` are commands, what follows is what they
  print on standard output, or, where it begins with `Error: `, on standard error with exit code 2;
  what is installed stays in that folder;
- a `python` block is executed, with the names that blocks before it made; a `text` block right
  after it is what it prints;
- a `python` or `toml` block whose first line is a comment with a file's name is written there.

In what is printed `...` stands for anything. Numbers with a decimal point, which another processor
rounds otherwise, may differ a little, and so may the digits at the end of a run's name, which
change with every setting that is added. `sh` blocks are not executed.
"""

from __future__ import annotations

import io
import math
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

from sdd_core.cli import main
from sdd_core.plugin import discovery as plugin_manager

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").glob("*.md"))
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$(?:\s*^```text\n(.*?)^```$)?", re.M | re.S)
FILE = re.compile(r"# ([\w/-]+\.(?:py|toml))$")
NUMBER = re.compile(r"-?\d+\.\d+")
RUN = re.compile(r"(-seed\d+)-[0-9a-f]{8}")


@pytest.fixture(autouse=True)
def as_it_was(tmp_path: Path) -> Iterator[None]:
    """A page may set the threads of this process, install plugins and import its own modules."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    plugin_manager._loaded.cache_clear()
    for name, module in list(sys.modules.items()):
        if (getattr(module, "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if "```" in page.read_text()],
                         ids=lambda page: page.stem)
def test_the_commands_of_a_page(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    # Also puts sys.path back to what it was.
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv("SDD_STORE", raising=False)
    names: dict[str, Any] = {"__name__": "page"}
    for language, content, printed in BLOCK.findall(page.read_text()):
        file = FILE.match(content.splitlines()[0]) if content else None
        if language in {"python", "toml"} and file:
            Path(file[1]).parent.mkdir(parents=True, exist_ok=True)
            Path(file[1]).write_text(content)
        elif language == "python":
            out = io.StringIO()
            with redirect_stdout(out):
                exec(compile(content, page.name, "exec"), names)
            if printed:
                compare(printed, out.getvalue())
        elif language == "console":
            for command, expected in commands(content):
                execute(command, expected)


def commands(block: str) -> Iterator[tuple[str, str]]:
    """The commands in a console block, and what each prints."""
    for part in re.split(r"^\$ ", block, flags=re.M)[1:]:
        command, _, printed = part.replace("\\\n", " ").partition("\n")
        yield command, printed


def execute(command: str, expected: str) -> None:
    """Run `sdd ...` in this process, or `pip install` and `pytest` in one of their own."""
    program, *words = shlex.split(command, comments=True)
    if program == "sdd":
        done = CliRunner().invoke(main, words)
        refused = expected.startswith("Error: ")
        assert done.exit_code == (2 if refused else 0), f"{command}\n{done.output}"
        compare(expected, done.stderr if refused else done.stdout)
    elif program == "pip":
        assert words[0] == "install"
        offline = ["--no-deps", "--no-index", "--no-build-isolation", "--target", "site"]
        python("pip", "install", "--quiet", *offline, *(f"./{w}" for w in words[1:] if w != "-e"))
        sys.path.insert(0, str(Path("site").absolute()))
        plugin_manager._loaded.cache_clear()
    else:
        assert program == "pytest", f"{command!r} cannot be executed here"
        compare(expected, python("pytest", "-p", "no:cacheprovider", *words))


def python(module: str, *words: str) -> str:
    """What `python -m module ...` prints."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-m", module, *words], capture_output=True, text=True,
                          env=environment, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def compare(expected: str, printed: str) -> None:
    """Fails unless what was printed is what the page says, but for what the docstring allows."""
    wanted, found = plain(expected), plain(printed)
    pattern = re.escape(NUMBER.sub("\0", wanted)).replace(r"\.\.\.", ".*?")
    match = re.fullmatch(pattern.replace("\0", r"(-?\d+\.\d+)"), found, re.S)
    assert match, f"the page says\n{expected}\nand this was printed\n{printed}"
    for shown, number in zip(NUMBER.findall(wanted), match.groups(), strict=True):
        assert math.isclose(float(shown), float(number), rel_tol=0.05, abs_tol=0.05), (
            f"the page says {shown}, {number} was printed:\n{printed}"
        )


def plain(text: str) -> str:
    """Text whose white space does not count."""
    return RUN.sub(r"\1-xxxxxxxx", " ".join(text.split()))


def test_what_is_compared() -> None:
    compare("level 0.912 ... end", "level   0.925\nand so on\nend")
    compare("wrote runs/a-seed0-01234567", "wrote runs/a-seed0-89abcdef")
    for expected, printed in (("0.9", "0.8"), ("a b", "a c b"), ("1 level", "2 levels"),
                              ("... 3.000 end", "3.4 end")):
        with pytest.raises(AssertionError):
            compare(expected, printed)


def test_every_public_name_is_in_the_reference() -> None:
    import sdd_core

    page = (ROOT / "docs/api.md").read_text()
    described = re.findall(r"^\.\. \w+:: [\w.]*?(\w+)(?:\(\))?$", page, re.M)
    assert set(sdd_core.__all__) - set(described) == set()

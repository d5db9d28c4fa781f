"""Ctrl-C, also where Python loses the exception that it raises."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from cli.conftest import FAST
from sdd_core.cli import main
from sdd_core.cli.interrupts import Interrupts, _importing


class Tidying:
    """Interrupted while it is thrown away."""

    def __del__(self) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(1000):
            pass


def test_an_interrupt_that_python_drops_comes_at_the_end_of_the_level(monkeypatch):
    dropped = []
    monkeypatch.setattr(sys, "unraisablehook", lambda raised: dropped.append(raised.exc_type))
    with Interrupts() as interrupts:
        interrupts.sdd_level_end()
        Tidying()
        assert dropped == [KeyboardInterrupt]
        with pytest.raises(KeyboardInterrupt):
            interrupts.sdd_level_end()


def test_a_sweep_looks_for_it_whenever_its_progress_does(monkeypatch):
    monkeypatch.setattr(sys, "unraisablehook", lambda raised: None)
    told = []

    class Told:
        def look(self):
            told.append("look")

        def ended(self, run, reason):
            told.append(run)

    with Interrupts() as interrupts:
        watched = interrupts.watching(Told())
        watched.look()
        Tidying()
        watched.ended(3, None)
        assert told == ["look", 3]
        with pytest.raises(KeyboardInterrupt):
            watched.look()


def test_otherwise_it_comes_at_once_and_afterwards_all_is_as_before():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), Interrupts():
        os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) == before


def test_one_that_became_another_error_or_none_comes_when_it_is_left(monkeypatch):
    monkeypatch.setattr(sys, "unraisablehook", lambda raised: None)
    with pytest.raises(KeyboardInterrupt), Interrupts():
        Tidying()

    def fail():
        Tidying()
        raise RuntimeError("half a module")

    with pytest.raises(KeyboardInterrupt), Interrupts():
        fail()


def test_at_the_end_of_an_epoch_too(monkeypatch):
    monkeypatch.setattr(sys, "unraisablehook", lambda raised: None)
    with Interrupts() as interrupts:
        Tidying()
        with pytest.raises(KeyboardInterrupt):
            interrupts.sdd_epoch_end()


def test_another_thread_does_without():
    raised = []

    def enter():
        try:
            with Interrupts():
                pass
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert raised == []


def test_an_import_is_told_from_other_work(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "imported_once.py").write_text(
        "import sys\nfrom sdd_core.cli.interrupts import _importing\n"
        "found = _importing(sys._getframe())\n"
        "def later(): return _importing(sys._getframe())\n"
    )
    import imported_once

    assert imported_once.found
    assert not imported_once.later()
    assert not _importing(None)


@pytest.mark.parametrize(("command", "goes_on"), [("run", True), ("sweep", True), ("report", False),
                                                 ("list-plugins", False)])
@pytest.mark.parametrize("moment", ["parsing", "working"])
def test_wherever_it_comes_there_is_one_line_and_code_130(monkeypatch, command, goes_on, moment):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    found = main.get_command(click.Context(main), command)
    method = "make_context" if moment == "parsing" else "invoke"
    monkeypatch.setattr(found, method, interrupted)
    words = ["x"] * (command in {"sweep", "report"})
    done = CliRunner().invoke(main, [command, *words])
    assert done.exit_code == 130
    assert done.output == "stopped" + "; run the same command again to resume" * goes_on + "\n"


SDD = [sys.executable, "-m", "sdd_core"]

BEFORE_TORCH = """
import os, signal, sys, time
class Finder:
    def find_spec(self, name, path, target=None):
        if name == {module!r}:
            print("now", flush=True)
            {waits}
sys.meta_path.insert(0, Finder())
sys.argv = ["sdd", *{words!r}]
from sdd_core.__main__ import main
main()
"""


WAITS = "time.sleep(60)"
SWALLOWS = f"""
            try: {WAITS}
            except BaseException: pass"""


@pytest.mark.parametrize(("module", "waits"), [
    ("click", WAITS), ("torch", WAITS), ("torch", SWALLOWS), ("matplotlib", SWALLOWS),
])  # fmt: skip
def test_in_the_middle_of_an_import(tmp_path, module, waits):
    # One that swallows the exception, as some do, too.
    words = ["run", *FAST, "--store", str(tmp_path / "store")]
    script = BEFORE_TORCH.format(module=module, waits=waits, words=words)
    child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "now\n"
    child.send_signal(signal.SIGINT)
    _, errors = child.communicate(timeout=120)
    assert child.returncode == 130
    *progress, line = errors.splitlines()
    # matplotlib is imported in another thread while this one trains, or waits for it.
    assert line in {"stopped", "stopped; run the same command again to resume"}
    assert all(one.startswith(("run ", "level ")) for one in progress)


def test_while_the_report_is_written(tmp_path):
    words = ["run", *FAST, "--store", str(tmp_path / "store")]
    script = f"""
import sys, os, signal
from sdd_core import report
import sdd_core.report.figure as figure
def save(*_):
    os.kill(os.getpid(), signal.SIGINT)
figure.save_figure = save
sys.argv = ["sdd", *{words!r}]
from sdd_core.__main__ import main
main()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True,
                          check=False)
    assert done.returncode == 130
    assert done.stderr.splitlines()[-1] == "stopped; run the same command again to resume"
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("store/*/report/.*"))
    again = subprocess.run([*SDD, *words, "--json"], capture_output=True, text=True, check=True)
    assert len(json.loads(again.stdout)["levels"]) == 2


def test_a_sweep_says_one_line_whatever_its_workers_do(tmp_path):
    (tmp_path / "sweep.toml").write_text(
        'seed = [0, 1]\nlevels = 200\nmodel.widths = [8]\ntrain.epochs = 1\n'
    )
    child = subprocess.Popen([*SDD, "sweep", "sweep.toml", "--workers", "2", "--device", "cpu"],
                             cwd=tmp_path, stderr=subprocess.PIPE, text=True,
                             start_new_session=True)
    # As a terminal does: all its processes, as soon as there is a worker.
    while not workers_of(child.pid) and child.poll() is None:
        time.sleep(0.005)
    os.killpg(child.pid, signal.SIGINT)
    _, errors = child.communicate(timeout=120)
    assert child.returncode == 130
    assert errors.splitlines()[-1] == "stopped; run the same command again to resume"
    assert "Traceback" not in errors


def workers_of(parent):
    try:
        children = [child for task in Path(f"/proc/{parent}/task").iterdir()
                    for child in (task / "children").read_text().split()]
        return [child for child in children
                if b"worker.py" in Path(f"/proc/{child}/cmdline").read_bytes()]
    except OSError:
        return []

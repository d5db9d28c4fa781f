"""Standard error that is full, closed or gone stops nothing."""

import io
import os
import subprocess
import sys

import pytest
from support import go, small

import sdd_core
from sdd_core.output.notices import lenient, say

SDD = [sys.executable, "-m", "sdd_core"]
RUN = ["run", "--levels", "1", "--train.epochs", "1", "--model.widths", "8", "--device", "cpu"]


class Broken(io.StringIO):
    """A stream that takes nothing."""

    def write(self, text):
        raise OSError(28, "No space left on device")

    def flush(self):
        raise OSError(28, "No space left on device")

    def isatty(self):
        raise ValueError("I/O operation on closed file")


@pytest.mark.parametrize("stream", [Broken(), None])
def test_a_notice_that_cannot_be_written_is_lost(monkeypatch, capsys, stream):
    monkeypatch.setattr(sys, "stderr", stream)
    say("something")
    sdd_core.warn("something")
    assert not lenient(stream).isatty()
    assert capsys.readouterr().out == ""


def test_a_closed_stream_too():
    stream = io.StringIO()
    stream.close()
    say("something", stream)


@pytest.mark.parametrize("stream", [Broken(), None])
def test_a_run_in_python_goes_on(tmp_path, monkeypatch, capsys, stream):
    monkeypatch.setattr(sys, "stderr", stream)
    result = go(small(levels=0), tmp_path, progress=True)
    sdd_core.sweep(small(levels=0), store=tmp_path, device="cpu", workers=1)
    assert len(result.levels) == 1
    assert capsys.readouterr().out == ""


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
@pytest.mark.parametrize("redirected", ["2>/dev/full", "2>&-", "<&- 2>&-"])
def test_a_run_on_the_command_line_goes_on(tmp_path, redirected):
    shell = f'exec "$@" {redirected}'
    done = subprocess.run(["sh", "-c", shell, "sh", *SDD, *RUN, "--json"], cwd=tmp_path,
                          stdout=subprocess.PIPE, check=False)
    assert done.returncode == 0
    assert done.stdout.startswith(b'{"run":')
    # Nobody's files were opened as standard error and written to.
    report = next((tmp_path / "runs").glob("*/report/levels.csv")).read_text()
    assert report.startswith("level,sparsity")


@pytest.mark.parametrize("closed", ["2>&-", "<&-", "<&- 2>&-"])
def test_no_file_gets_the_number_of_a_stream_that_is_closed(closed):
    script = ("import os; from sdd_core.__main__ import _open_closed; _open_closed()\n"
              "print(os.open(os.devnull, os.O_RDONLY))")
    done = subprocess.run(["sh", "-c", f'exec "$@" {closed}', "sh", sys.executable, "-c", script],
                          stdout=subprocess.PIPE, check=True)
    assert int(done.stdout) > 2


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_refusal_has_its_exit_code(tmp_path):
    done = subprocess.run(["sh", "-c", 'exec "$@" 2>/dev/full', "sh", *SDD, "run", "--pruner", "x"],
                          cwd=tmp_path, check=False, stdout=subprocess.PIPE)
    assert (done.returncode, done.stdout) == (2, b"")

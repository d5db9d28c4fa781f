"""The Ray executor, on a Ray that is started on this machine."""

import os
import re
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from support import last_level_held
from waiting import wait_until

import sdd_core
from plugins.executors.test_local import lives
from sdd_core import SddError, install_hint
from sdd_plugins.executors.ray import MARK, Ray

pytestmark = pytest.mark.slow

FILE = """
seed = [0, 1]
pruner = ["imp", "random"]
levels = 1
kernels = "none"
model = {name = "mlp", widths = [16]}
train.epochs = 30
"""
SDD = [sys.executable, "-c", "from sdd_core.cli import main; main()"]


def descendants(parent: int) -> list[int]:
    """The processes that a process started, and those that they started."""
    parents = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            after_its_name = (entry / "stat").read_text().rpartition(")")[2]
            parents[int(entry.name)] = int(after_its_name.split()[1])
        except OSError:
            continue
    found = [parent]
    for one in found:
        found += [child for child, its_parent in parents.items() if its_parent == one]
    return found[1:]


def of_process(process: int, file: str) -> bytes:
    """What Linux says of a process; nothing where it has ended or only begins."""
    try:
        return Path(f"/proc/{process}/{file}").read_bytes()
    except OSError:
        return b""


def kill_busy_worker(sweep: int) -> bool:
    """Kill a process of Ray's that carries out a task of the sweep, if there is one."""
    for process in descendants(sweep):
        if of_process(process, "cmdline").startswith(b"ray::execute"):
            os.kill(process, signal.SIGKILL)
            return True
    return False


def test_its_table_is_the_local_one_though_a_worker_is_killed(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    (tmp_path / "sweep.toml").write_text(FILE)
    words = ["sweep", str(tmp_path / "sweep.toml"), "--workers", "2", "--device", "cpu",
             "--checkpoint-minutes", "0"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with (tmp_path / "said").open("w+") as said:
        process = subprocess.Popen([*SDD, *words, "--store", str(tmp_path / "ray"), "--executor",
                                    "ray"], env=environment, stdout=subprocess.DEVNULL, stderr=said)
        with last_level_held(tomllib.loads(FILE), tmp_path / "ray"):
            wait_until(lambda: kill_busy_worker(process.pid), process)
        process.wait()
        said.seek(0)
        assert process.returncode == 0, said.read()
    local = subprocess.run([*SDD, *words, "--store", str(tmp_path / "local"),
                            "--executor.threads", "1"], env=environment, capture_output=True,
                           text=True, check=False)
    assert local.returncode == 0, local.stderr
    rows = sdd_core.table(tmp_path / "local")
    assert len(rows) == 8
    assert sdd_core.table(tmp_path / "ray") == rows


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says whose processes they are")
def test_no_process_of_ray_outlives_a_sweep_that_was_killed(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    script = """
from pathlib import Path
from plugins.executors.test_local import double, sleep
from plugins.executors.test_ray import Ray
pool = Ray(workers=1).open(1)
pool.submit(double, 0).result()
print("ready", flush=True)
pool.submit(sleep, Path("/dev/null")).result()
"""
    path = os.pathsep.join(filter(None, sys.path))
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True,
                              env={**os.environ, "PYTHONPATH": path})
    assert parent.stdout
    while parent.stdout.readline() not in {"ready\n", ""}:
        pass
    guard, *started = descendants(parent.pid)
    assert b"guard.py" in Path(f"/proc/{guard}/cmdline").read_bytes()
    # Without its mark a process is none of the guard's, and may end later by itself or not at all.
    titles = [of_process(process, "cmdline") for process in started]
    marks = [MARK.encode() in (of_process(process, "environ") or MARK.encode())
             for process in started]
    assert [title for title, mark in zip(titles, marks, strict=True) if not mark] == []
    assert any(title.startswith(b"ray::") for title in titles)
    parent.kill()
    parent.wait()
    wait_until(lambda: not any(map(lives, [guard, *started])))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says whose processes they are")
@pytest.mark.parametrize("how", ["killed", "ended"])
def test_the_guard_ends_what_was_marked_and_nothing_else(how: str) -> None:
    script = """
import subprocess, sys
from sdd_plugins.executors.ray import _Guard
sleep = [sys.executable, "-c", "import time; time.sleep(1000)"]
guard = _Guard()
with guard.marking():
    marked = subprocess.Popen(["sh", "-c", '"$@" & echo $!; wait', "sh", *sleep],
                              stdout=subprocess.PIPE, text=True, start_new_session=True)
other = subprocess.Popen(sleep)
print(marked.pid, marked.stdout.readline().strip(), guard._process.pid, other.pid, flush=True)
if sys.stdin.readline() == "end\\n":
    guard.end()
    print("over", flush=True)
"""
    parent = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, text=True)
    assert parent.stdin
    assert parent.stdout
    *marked, guard, other = map(int, parent.stdout.readline().split())
    try:
        assert all(map(lives, [*marked, guard, other]))
        if how == "killed":
            parent.kill()
        else:
            parent.stdin.write("end\n")
            parent.stdin.flush()
            assert parent.stdout.readline() == "over\n"
        wait_until(lambda: not any(map(lives, [*marked, guard])))
        assert lives(other)
    finally:
        parent.kill()
        parent.wait()
        os.kill(other, signal.SIGKILL)


def test_a_cluster_that_is_not_there_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray")

    def no_cluster(**_: object) -> None:  # a Ray of another test may be running on this machine
        raise ConnectionError("Could not find any running Ray instance.\nPlease specify one.")

    monkeypatch.setattr(ray, "init", no_cluster)
    message = r"^cannot reach Ray at 'auto': Could not .* specify one\.$"
    with pytest.raises(SddError, match=message):
        Ray(address="auto").open(1)


def test_without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(SddError, match=re.escape(install_hint("ray"))):
        Ray().open(1)

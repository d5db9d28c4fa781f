"""Worker processes of this machine: what they answer, how they die, and who ends them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Executor
from pathlib import Path
from types import SimpleNamespace

import pytest
from waiting import wait_until

from sdd_core import SddError
from sdd_plugins.executors import local
from sdd_plugins.executors.local import Local, cores

pytestmark = pytest.mark.slow


@pytest.fixture
def pool() -> Iterator[Executor]:
    with Local(workers=2).open(8) as pool:
        yield pool


def double(number: int) -> int:
    print("what a plugin prints is no answer")
    return 2 * number


def refuse() -> None:
    raise SddError("the reason")


def unsendable() -> object:
    return lambda: None


def die_until(folder: Path, times: int) -> int:
    """Die of SIGKILL so many times, then return how often."""
    (folder / str(os.getpid())).touch()
    if len(list(folder.iterdir())) <= times:
        os.kill(os.getpid(), signal.SIGKILL)
    return len(list(folder.iterdir())) - 1


def threads() -> int:
    return int(os.environ["OMP_NUM_THREADS"])


def threads_of_torch() -> tuple[int, int]:
    import torch

    return os.getpid(), torch.get_num_threads()


def path() -> list[str]:
    return list(sys.path)


def uses(names: list[str]) -> list[str]:
    import importlib

    return [str(importlib.import_module(name).__file__) for name in names]


def held_signals() -> set[int]:
    return signal.pthread_sigmask(signal.SIG_BLOCK, [])


def exit_with_a_word() -> None:
    print("first\nthe last word", file=sys.stderr, flush=True)
    os._exit(7)


def sleep(note: Path) -> None:
    note.write_text(str(os.getpid()))
    signal.pause()


def lives(process: int) -> bool:
    """Whether a process is there and has not ended: where nobody waits for it, a zombie stays."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):  # the latter where it ends while it is read
        return False
    return state not in {"Z", "X"}


def test_answers(pool: Executor) -> None:
    assert list(pool.map(double, range(5))) == [0, 2, 4, 6, 8]


def test_what_is_raised_comes_back_and_the_worker_goes_on(pool: Executor) -> None:
    assert isinstance(pool.submit(refuse).exception(), SddError)
    assert "cannot be sent" in str(pool.submit(unsendable).exception())
    assert pool.submit(double, 4).result() == 8


def test_a_task_whose_worker_dies_is_tried_twice_more(
    pool: Executor, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert pool.submit(die_until, tmp_path, 2).result() == 2
    assert capsys.readouterr().err.count("died (signal 9)") == 2


def test_a_task_that_always_kills_its_worker_fails_alone(pool: Executor, tmp_path: Path) -> None:
    killer, other = pool.submit(die_until, tmp_path, 99), pool.submit(double, 1)
    assert other.result() == 2
    error = killer.exception()
    assert isinstance(error, SddError)
    assert "died 3 times" in str(error)
    assert len(list(tmp_path.iterdir())) == 3
    assert pool.submit(double, 2).result() == 4


def test_the_cores_are_divided_among_the_workers() -> None:
    for workers, width, expected in ((1, 5, cores()), (None, 1, cores()), (None, 99, 1)):
        with Local(workers=workers).open(width) as pool:
            assert pool.submit(threads).result() == expected
    with Local(workers=1, threads=1).open(2) as pool:
        process, found = pool.submit(threads_of_torch).result()
        assert found == 1
        assert process != os.getpid()


@pytest.mark.parametrize("where", ["", ".", "absolute"])
def test_a_users_modules_do_not_stand_for_the_standard_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    # Also in a notebook, whose path begins with the current folder.
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path) if where == "absolute" else where)
    names = ["queue", "pickle", "threading", "random", "statistics", "types", "csv", "_queue"]
    for name in [*names, "local", "worker", "ray"]:
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('the wrong one')")
    (tmp_path / "nets.py").write_text("")
    with Local(workers=1).open(1) as pool:
        assert pool.submit(path).result() == sys.path
        *found, own = pool.submit(uses, [*names, "nets"]).result()
    assert not any(Path(file).resolve().is_relative_to(tmp_path) for file in found)
    assert Path(own).resolve() == tmp_path / "nets.py"


def test_nor_do_modules_beside_the_workers_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = tmp_path / "worker.py"
    worker.write_text(local.WORKER.read_text())
    (tmp_path / "queue.py").write_text("raise RuntimeError('the wrong one')")
    monkeypatch.setattr(local, "WORKER", worker)
    with Local(workers=1).open(1) as pool:
        assert pool.submit(double, 2).result() == 4


@pytest.mark.parametrize(("source", "words"), [
    ("import no_such_module", "exit code 1: ModuleNotFoundError: No module named 'no_such_module'"),
    ("raise SystemExit('no licence')", "exit code 1: no licence"),
    ("raise SystemExit(3)", "exit code 3"),
    ("print('no answer')", "exit code 0"),
])  # fmt: skip
def test_a_worker_that_cannot_start_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, words: str
) -> None:
    started = tmp_path / "started"
    worker = tmp_path / "worker.py"
    worker.write_text(f"open({str(started)!r}, 'a').write('x')\n{source}\n")
    monkeypatch.setattr(local, "WORKER", worker)
    with Local(workers=1).open(1) as pool:
        error = pool.submit(double, 1).exception()
    assert isinstance(error, SddError)
    assert str(error) == f"a worker process cannot start ({words})"
    assert started.read_text() == "x"  # it is not tried again


def test_nor_where_there_is_no_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    with Local(workers=1).open(1) as pool:
        error = pool.submit(double, 1).exception()
    assert str(error) == "cannot start a worker process: No such file or directory"


def test_the_last_words_of_a_worker_are_passed_on(
    pool: Executor, capsys: pytest.CaptureFixture[str]
) -> None:
    error = pool.submit(exit_with_a_word).exception()
    says = "its worker process died 3 times, the last time by exit code 7: the last word"
    assert str(error) == says
    assert "first\nthe last word\n" in capsys.readouterr().err


def test_ctrl_c_is_held_from_a_worker_from_its_first_moment(pool: Executor) -> None:
    # Sent to all processes of a terminal, it would end each with a traceback.
    assert signal.SIGINT in pool.submit(held_signals).result()
    assert signal.SIGINT not in held_signals()


def test_an_interruption_ends_what_is_being_done(tmp_path: Path) -> None:
    pool = Local(workers=1).open(2)
    note = tmp_path / "note"
    running, waiting = pool.submit(sleep, note), pool.submit(double, 1)
    wait_until(lambda: note.exists() and note.read_text())
    pool.shutdown(wait=False, cancel_futures=True)
    assert waiting.cancelled()
    assert isinstance(running.exception(), SddError)
    assert not lives(int(note.read_text()))


def test_no_output_is_closed_while_a_thread_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The thread would wait forever: a closed file is one that epoll no longer watches.
    wait = local._Worker._wait

    def slow(worker: local._Worker) -> None:
        wait(worker)
        time.sleep(0.5)

    monkeypatch.setattr(local._Worker, "_wait", slow)
    pool = Local(workers=1).open(1)
    note = tmp_path / "note"
    running = pool.submit(sleep, note)
    wait_until(lambda: note.exists() and note.read_text())
    closed_when_done: list[bool] = []
    [worker] = pool._started
    answers = worker._answers

    def close() -> None:
        closed_when_done.append(running.done())
        answers.close()

    worker._answers = SimpleNamespace(close=close)
    pool.shutdown(wait=False, cancel_futures=True)
    assert closed_when_done == [True]


def leave_a_child_and_die(note: Path) -> None:
    child = os.fork()
    if child:
        note.write_text(str(child))
        os.kill(os.getpid(), signal.SIGKILL)
    signal.pause()


def test_a_dead_worker_whose_child_holds_its_output_open_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "LOOK_EVERY", 0.05)
    monkeypatch.setattr(local, "ATTEMPTS", 1)
    note = tmp_path / "note"
    with Local(workers=1).open(1) as pool:
        error = pool.submit(leave_a_child_and_die, note).exception(timeout=60)
        os.kill(int(note.read_text()), signal.SIGKILL)
    assert "signal 9" in str(error)


def test_workers_do_not_outlive_a_sweep_that_was_killed(tmp_path: Path) -> None:
    script = """
import sys
from pathlib import Path
from plugins.executors.test_local import Local, sleep

if __name__ == "__main__":
    Local(workers=1).open(1).submit(sleep, Path(sys.argv[1])).result()
"""
    note = tmp_path / "note"
    path = os.pathsep.join(filter(None, sys.path))
    parent = subprocess.Popen([sys.executable, "-c", script, str(note)],
                              env={**os.environ, "PYTHONPATH": path})
    wait_until(lambda: note.exists() and note.read_text(), parent)
    worker = int(note.read_text())
    assert lives(worker)
    parent.kill()
    parent.wait()
    wait_until(lambda: not lives(worker))


def own_number() -> int:
    return os.getpid()


def stop_until_continued() -> str:
    os.kill(os.getpid(), signal.SIGSTOP)
    return "continued"


def test_a_stopped_worker_is_said_waited_for_and_goes_on(
    pool: Executor, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(local, "LOOK_EVERY", 0.05)
    said: list[str] = []
    monkeypatch.setattr(local, "warn", said.append)
    stopped = pool.submit(stop_until_continued)
    wait_until(lambda: said)
    # The others do the rest meanwhile.
    assert [pool.submit(double, number).result() for number in (1, 2)] == [2, 4]
    assert not stopped.done()
    [line] = said
    number = int(line.split()[2])
    assert f"worker process {number} is stopped" in line
    assert f"kill -CONT {number}" in line
    os.kill(number, signal.SIGCONT)
    assert stopped.result() == "continued"
    assert len(said) == 1


def test_a_stopped_worker_with_nothing_left_to_do_holds_nobody_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(local, "PATIENCE", 0.2)
    with Local(workers=1).open(1) as pool:
        worker = pool.submit(own_number).result()
        os.kill(worker, signal.SIGSTOP)
    assert not lives(worker)

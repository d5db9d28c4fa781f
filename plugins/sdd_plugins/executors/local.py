from __future__ import annotations

import contextlib
import os
import pickle
import selectors
import signal
import subprocess
import sys
import threading
from concurrent import futures
from pathlib import Path
from typing import Any

from pydantic import Field

from sdd_core import Executor, SddError, warn

ATTEMPTS = 3
LOOK_EVERY = 2.0
"""Seconds after which a worker that does not answer is looked at."""
PATIENCE = 10.0
"""Seconds that a worker has to end in, when there is nothing left for it to do."""
WORKER = Path(__file__).with_name("worker.py")


class Local(Executor):
    """Processes on this machine, one for each core.

    The cores are divided among the workers, so that their threads do not get in each other's way.
    A task whose worker dies (killed, or out of memory) is tried three times in all.
    """

    name = "local"

    threads: int | None = Field(
        None, ge=1, description="threads of each worker; not given: its share of the cores"
    )

    def open(self, width: int) -> futures.Executor:
        workers = self.workers or max(1, min(width, cores()))
        return _Pool(workers, self.threads or max(1, cores() // workers))


class _Pool(futures.Executor):
    """Threads, each with a process of its own that does what the thread is asked to do."""

    def __init__(self, workers: int, threads: int) -> None:
        self._threads = threads
        self._pool = futures.ThreadPoolExecutor(workers, "sdd-worker", _hold_interrupts)
        self._own = threading.local()
        self._started: list[_Worker] = []
        self._closed = False

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> futures.Future[Any]:
        assert not kwargs
        return self._pool.submit(self._ask, pickle.dumps((fn, args)))

    def _ask(self, request: bytes) -> Any:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return self._worker().ask(request)
            except _Died as died:
                self._own.worker = None
                if self._closed:
                    raise SddError("the sweep was interrupted") from None
                if attempt < ATTEMPTS:
                    warn(f"a worker process died ({died}); what it was doing is tried again")
                last = died
        advice = "; if memory ran out, use fewer --workers" if last.killed else ""
        raise SddError(f"its worker process died {ATTEMPTS} times, at last by {last}{advice}")

    def _worker(self) -> _Worker:
        worker = getattr(self._own, "worker", None)
        if worker is None:
            worker = self._own.worker = _Worker(self._threads)
            self._started.append(worker)
            if self._closed:  # while it was started
                worker.end(at_once=True)
        return worker

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        if cancel_futures:
            self._closed = True
            self._pool.shutdown(wait=False, cancel_futures=True)
            for worker in self._started:
                worker.end(at_once=True)
        self._pool.shutdown(wait)
        for worker in self._started:
            worker.end()


def _hold_interrupts() -> None:
    """Keep Ctrl-C from this thread, and from the processes that it starts, which would show a
    traceback each before they can ignore it."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})


class _Died(Exception):
    """A worker process is no more; says how it ended, and what it wrote last.

    killed: by a signal.
    """

    def __init__(self, code: int, last_words: str) -> None:
        self.killed = code < 0
        how = f"signal {-code}" if self.killed else f"exit code {code}"
        super().__init__(f"{how}: {last_words}" if last_words else how)


class _Worker:
    """A process that does one thing at a time."""

    def __init__(self, threads: int) -> None:
        # A fresh interpreter: the number of threads is settled before torch is loaded, and a
        # script that calls `sdd_core.sweep` is not run again. With -P its path has neither the
        # current folder nor that of its file, whose modules are not the standard library's.
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", str(WORKER)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**os.environ, "OMP_NUM_THREADS": str(threads)},
            )
        except OSError as error:
            raise SddError(f"cannot start a worker process: {error.strerror or error}") from None
        assert self._process.stdin
        assert self._process.stdout
        self._requests, self._answers = self._process.stdin, self._process.stdout
        self._last_words = ""
        self._reader = threading.Thread(target=self._pass_on, daemon=True)
        self._reader.start()
        # Before anything that is imported: it is to see the modules that this process sees.
        self._begun = self._send(sys.path) and self._receive() == "ready"

    def ask(self, request: bytes) -> Any:
        if not self._begun:
            died = self._died()
            if died.killed:
                raise died
            raise SddError(f"a worker process cannot start ({died})")
        if not self._send(request) or (reply := self._receive()) is None:
            raise self._died()
        good, answer = reply
        if not good:
            raise answer
        return answer

    def _send(self, message: Any) -> bool:
        """Whether the process could be told."""
        try:
            pickle.dump(message, self._requests)
            self._requests.flush()
        except (OSError, ValueError):
            return False
        return True

    def _receive(self) -> Any:
        """What the process answers; None where it died."""
        try:
            self._wait()
            return pickle.load(self._answers)
        except (EOFError, OSError, ValueError, pickle.UnpicklingError):
            return None

    def _wait(self) -> None:
        """Wait for an answer, and say once where the process was stopped, as by a debugger or
        `kill -STOP`: it is not dead, so its task is not given to another one."""
        if not hasattr(os, "waitid"):  # on Windows, where nothing stops a process
            return
        with selectors.DefaultSelector() as selector:
            selector.register(self._answers, selectors.EVENT_READ)
            said = False
            while not selector.select(None if said else LOOK_EVERY):
                flags = os.WSTOPPED | os.WNOHANG | os.WNOWAIT
                with contextlib.suppress(ChildProcessError):
                    said = bool(os.waitid(os.P_PID, self._process.pid, flags))
                if said:
                    warn(f"worker process {self._process.pid} is stopped; the sweep waits for what "
                         f"it does, until `kill -CONT {self._process.pid}`")

    def _died(self) -> _Died:
        code = self._process.wait()
        self._reader.join(timeout=1)  # a process of its own may hold its standard error open
        return _Died(code, self._last_words)

    def _pass_on(self) -> None:
        """Pass on what the process writes on standard error, and keep its last line."""
        assert self._process.stderr
        for line in self._process.stderr:
            text = line.decode(errors="replace")
            self._last_words = text.strip() or self._last_words
            with contextlib.suppress(OSError, ValueError, AttributeError):
                sys.stderr.write(text)
                sys.stderr.flush()

    def end(self, at_once: bool = False) -> None:
        """Let the process end, which it does when nothing more can be asked of it."""
        if at_once:
            self._process.kill()
        else:
            # What is left in the buffer of a dead process cannot be written.
            with contextlib.suppress(OSError, ValueError):
                self._requests.close()
            try:
                self._process.wait(PATIENCE)
            except subprocess.TimeoutExpired:  # it is stopped; there is nothing left for it to do
                self._process.kill()
                self._process.wait()
            self._answers.close()


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1

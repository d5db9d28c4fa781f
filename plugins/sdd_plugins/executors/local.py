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
"""Seconds without an answer after which a worker's state is checked."""
PATIENCE = 10.0
"""Seconds that a worker without tasks has to end."""
WORKER = Path(__file__).with_name("worker.py")


class Local(Executor):
    """Processes on this machine, one for each core.

    The cores are divided among the workers, so that their threads do not compete. A task whose
    worker dies (killed, or out of memory) is tried three times in total.
    """

    name = "local"

    threads: int | None = Field(
        None, ge=1, description="threads per worker; default: its share of the cores"
    )

    def open(self, width: int) -> futures.Executor:
        workers = self.workers or max(1, min(width, cores()))
        return _Pool(workers, self.threads or max(1, cores() // workers))


class _Pool(futures.Executor):
    """Threads, each with its own process that carries out the thread's tasks."""

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
                    warn(f"a worker process died ({died}); its task is tried again")
                last = died
        advice = "; if memory ran out, use fewer --workers" if last.killed else ""
        raise SddError(f"its worker process died {ATTEMPTS} times, the last time by {last}{advice}")

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
        # The threads of killed workers are waited for in any case: a file that is closed while a
        # thread waits for its end never reports it.
        self._pool.shutdown(wait or cancel_futures)
        for worker in self._started:
            worker.end()


def _hold_interrupts() -> None:
    """Block Ctrl-C in this thread and in the processes that it starts, which would each show a
    traceback before they can ignore it."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})


class _Died(Exception):
    """A worker process has ended; the message has its exit status and its last line of output.

    killed: True if a signal ended it.
    """

    def __init__(self, code: int, last_words: str) -> None:
        self.killed = code < 0
        how = f"signal {-code}" if self.killed else f"exit code {code}"
        super().__init__(f"{how}: {last_words}" if last_words else how)


class _Worker:
    """A process that carries out one task at a time."""

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
        """Send a message to the process; return False if that is not possible."""
        try:
            pickle.dump(message, self._requests)
            self._requests.flush()
        except (OSError, ValueError):
            return False
        return True

    def _receive(self) -> Any:
        """Return the answer of the process; None if it died."""
        try:
            self._wait()
            return pickle.load(self._answers)
        except (EOFError, OSError, ValueError, pickle.UnpicklingError):
            return None

    def _wait(self) -> None:
        """Wait for an answer or the end of the process, whose own children may outlive it and hold
        its output open. Warn once if it is stopped, for example by a debugger or `kill -STOP`: it
        is not dead, so its task is not moved to another one.

        Raises:
            EOFError: It has ended without an answer.
        """
        if not hasattr(os, "waitid"):  # on Windows, where processes cannot be stopped
            return
        with selectors.DefaultSelector() as selector:
            selector.register(self._answers, selectors.EVENT_READ)
            said = False
            while not selector.select(LOOK_EVERY):
                if self._process.poll() is not None and not selector.select(0):
                    raise EOFError
                flags = os.WSTOPPED | os.WNOHANG | os.WNOWAIT
                with contextlib.suppress(ChildProcessError):
                    stopped = bool(os.waitid(os.P_PID, self._process.pid, flags))
                if stopped and not said:
                    said = True
                    warn(f"worker process {self._process.pid} is stopped; the sweep waits for it; "
                         f"continue it with `kill -CONT {self._process.pid}`")

    def _died(self) -> _Died:
        code = self._process.wait()
        self._reader.join(timeout=1)  # a process of its own may hold its standard error open
        return _Died(code, self._last_words)

    def _pass_on(self) -> None:
        """Forward standard error of the process, and keep its last line."""
        assert self._process.stderr
        for line in self._process.stderr:
            text = line.decode(errors="replace")
            self._last_words = text.strip() or self._last_words
            with contextlib.suppress(OSError, ValueError, AttributeError):
                sys.stderr.write(text)
                sys.stderr.flush()

    def end(self, at_once: bool = False) -> None:
        """End the process: close its input, after which it ends itself, or kill it `at_once`."""
        if at_once:
            self._process.kill()
        else:
            # The rest of the buffer cannot be written to a dead process.
            with contextlib.suppress(OSError, ValueError):
                self._requests.close()
            try:
                self._process.wait(PATIENCE)
            except subprocess.TimeoutExpired:  # it is stopped, and has no task left
                self._process.kill()
                self._process.wait()
            self._answers.close()


def cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1

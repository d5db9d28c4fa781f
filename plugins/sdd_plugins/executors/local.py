from __future__ import annotations

import contextlib
import os
import pickle
import subprocess
import sys
import threading
from concurrent import futures
from typing import Any

from pydantic import Field

from sdd_core import Executor, SddError

ATTEMPTS = 3


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
        self._pool = futures.ThreadPoolExecutor(workers, "sdd-worker")
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
                    print(f"sdd: warning: a worker process died ({died}); what it was doing is "
                          "tried again", file=sys.stderr)
                reason = str(died)
        raise SddError(f"its worker process died {ATTEMPTS} times, at last by {reason}; if memory "
                       "ran out, use fewer --workers")

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


class _Died(Exception):
    """A worker process is no more; says how it ended."""


class _Worker:
    """A process that does one thing at a time."""

    def __init__(self, threads: int) -> None:
        # A fresh interpreter: the number of threads is settled before torch is loaded, and a
        # script that calls `sdd_core.sweep` is not run again.
        path = os.pathsep.join(filter(None, sys.path))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "sdd_plugins.executors.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONPATH": path},
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._requests, self._answers = self._process.stdin, self._process.stdout

    def ask(self, request: bytes) -> Any:
        try:
            pickle.dump(request, self._requests)
            self._requests.flush()
            good, answer = pickle.load(self._answers)
        except (EOFError, OSError, ValueError, pickle.UnpicklingError):
            code = self._process.wait()
            raise _Died(f"signal {-code}" if code < 0 else f"exit code {code}") from None
        if not good:
            raise answer
        return answer

    def end(self, at_once: bool = False) -> None:
        """Let the process end, which it does when nothing more can be asked of it."""
        if at_once:
            self._process.kill()
        else:
            # What is left in the buffer of a dead process cannot be written.
            with contextlib.suppress(OSError, ValueError):
                self._requests.close()
            self._process.wait()
            self._answers.close()


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1

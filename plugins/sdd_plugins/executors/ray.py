from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any
from uuid import uuid4

from pydantic import Field

from sdd_core import Executor, SddError, install_hint
from sdd_plugins.executors.local import cores

MARK = "SDD_RAY_GUARD"

KEEP_MARK = "SPT_NOENV"
"""Ray's agents and workers call themselves otherwise with setproctitle, which writes the new title
over their environment, mark and all, unless this is set."""


class Ray(Executor):
    """A Ray cluster, whose machines share the store's folder.

    Ray assigns tasks to machines and retries tasks whose worker or machine dies. `sdd` and the
    plugins must be installed on each machine, and the store, the data and your own modules must
    have the same paths on all machines.
    """

    name = "ray"
    source = "https://docs.ray.io"

    address: str | None = Field(
        None,
        description="address of a running cluster, or 'auto'; default: RAY_ADDRESS, or a Ray "
        "started on this machine",
    )
    cpus: int = Field(1, ge=1, description="cores per task")
    retries: int = Field(2, ge=0, description="number of retries of a task")

    def open(self, width: int) -> futures.Executor:
        try:
            import ray  # noqa: PLC0415 (large, and may be missing)
        except ImportError:
            raise SddError("executor 'ray' needs Ray, which is not installed; "
                           f"{install_hint('ray')}") from None
        started = not ray.is_initialized()
        guard = self._connect(ray) if started else None
        options = {"num_cpus": self.cpus, "max_retries": self.retries}
        return _Pool(ray, options, self.workers or width, started, guard)

    def _connect(self, ray: Any) -> _Guard | None:
        """Connect to a cluster, or start a Ray on this machine, with a guard."""
        address = self.address or os.environ.get("RAY_ADDRESS")
        own = {"num_cpus": (self.workers or cores()) * self.cpus, "include_dashboard": False}
        where = {"address": address} if address else {"address": "local", **own}
        guard = None if address else _Guard()
        try:
            with guard.marking() if guard else nullcontext():
                ray.init(**where, logging_level="warning", configure_logging=True)
        except (ConnectionError, RuntimeError, ValueError) as error:
            if guard:
                guard.end()
            reason = " ".join(str(error).split())
            raise SddError(f"cannot reach Ray at {where['address']!r}: {reason}") from None
        return guard


class _Guard:
    """A process that outlives this one and ends the Ray that this one started, see guard.py. Only
    Linux shows which processes those are; elsewhere there is no guard."""

    def __init__(self) -> None:
        self._mark = f"{uuid4()}"
        self._process = subprocess.Popen(
            [sys.executable, "-I", str(Path(__file__).with_name("guard.py")), self._mark],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,  # no signal of the terminal ends it
        ) if sys.platform == "linux" else None

    @contextmanager
    def marking(self) -> Iterator[None]:
        """Mark all processes started inside, and their children, for the guard."""
        before = {name: os.environ.get(name) for name in (MARK, KEEP_MARK)}
        os.environ |= {MARK: self._mark, KEEP_MARK: "1"}
        try:
            yield
        finally:
            for name, value in before.items():
                del os.environ[name]
                if value is not None:
                    os.environ[name] = value

    def end(self) -> None:
        """End what is left of Ray, and the guard."""
        if self._process and self._process.stdin:
            self._process.stdin.close()
            self._process.wait()


class _Pool(futures.ThreadPoolExecutor):
    """Threads, each of which waits for a task of Ray."""

    def __init__(
        self, ray: Any, options: dict[str, Any], workers: int, started: bool, guard: _Guard | None
    ) -> None:
        super().__init__(workers, "sdd-ray")
        self._ray, self._options, self._started, self._guard = ray, options, started, guard
        self._asked: list[Any] = []

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> futures.Future[Any]:
        return super().submit(self._ask, fn, args, kwargs)

    def _ask(self, fn: Any, args: Any, kwargs: Any) -> Any:
        task = self._ray.remote(fn).options(**self._options).remote(*args, **kwargs)
        self._asked.append(task)
        try:
            return self._ray.get(task)
        except self._ray.exceptions.RayError as error:
            cause = getattr(error, "cause", None)
            if isinstance(cause, SddError):  # an error of the task itself
                raise cause from None
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise SddError(f"Ray: {reason}") from None

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        if cancel_futures:
            super().shutdown(wait=False, cancel_futures=True)
            for task in self._asked:
                self._ray.cancel(task, force=True)
        super().shutdown(wait)
        if self._started:
            self._ray.shutdown()
        if self._guard:
            self._guard.end()

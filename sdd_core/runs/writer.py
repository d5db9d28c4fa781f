"""Write files in another thread, while the next level trains."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from sdd_core.errors import SddError
from sdd_core.output.notices import warn


class Writer:
    """Writes files in a thread of its own, in the order in which they were given.

    After a write that failed, no other one is carried out: nothing is on the disk that names, or
    follows, something that is missing. The error is raised in the thread that uses the writer, by
    the next call of `then`, `look` or `finish`.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "sdd-writer")
        self._last: Future[None] | None = None
        self._failed: BaseException | None = None
        self._calls: deque[tuple[Future[None] | None, Callable[[], object]]] = deque()

    def write(self, task: Callable[[], object], held: ExitStack | None = None) -> None:
        """Carry out a task that writes, after those before it.

        held: the locks of what is written. They are released when the task has ended.
        """
        self._last = self._thread.submit(self._carry_out, task, held or ExitStack())

    def _carry_out(self, task: Callable[[], object], held: ExitStack) -> None:
        with held:
            if self._failed is not None:
                raise self._failed
            try:
                task()
            except BaseException as error:
                self._failed = error
                raise

    def then(self, call: Callable[..., object], *arguments: Any, **named: Any) -> None:
        """Call a function in this thread when all that was given before is on the disk.

        The functions are called in the order in which they were given: now if nothing is waited
        for, otherwise by a later `then`, `look` or `finish`. None is called after a failure.
        """
        self._calls.append((self._last, partial(call, *arguments, **named)))
        self.look()

    def look(self) -> None:
        """Call the functions that were waiting for what is now on the disk. Raises the error of a
        write that failed."""
        while self._calls:
            before, call = self._calls[0]
            if before is not None:
                if not before.done():
                    break
                before.result()
            self._calls.popleft()
            call()
        if self._failed is not None:
            raise self._failed

    def finish(self) -> None:
        """Wait until everything is on the disk, and call the functions that were waiting for it.
        Raises as `look` does."""
        if self._last is not None:
            wait([self._last])
        self.look()

    @contextmanager
    def finished(self) -> Iterator[None]:
        """Finish at the end of the block, also after an error or Ctrl-C, which is raised again; a
        write that failed as well is then reported."""
        try:
            yield
        except BaseException as ended:
            try:
                self.finish()
            except SddError as error:
                if error is not ended:
                    warn(str(error))
            raise
        self.finish()

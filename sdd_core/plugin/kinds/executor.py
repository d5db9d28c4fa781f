"""Executors: workers for the tasks of a sweep."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from sdd_core.plugin.base import Plugin

if TYPE_CHECKING:
    import concurrent.futures


class Executor(Plugin):
    """A place to run the tasks of a sweep. It is not part of an experiment: the results are the
    same on every executor."""

    kind: ClassVar[str] = "executor"
    hook: ClassVar[str] = "sdd_executors"
    title: ClassVar[str] = "Executors"

    workers: int | None = Field(
        default=None, ge=1, description="number of tasks at a time; default: as many as the cores "
        "allow"
    )

    def open(self, width: int) -> concurrent.futures.Executor:
        """Return workers, of which a sweep keeps at most `width` busy.

        They receive functions and arguments that can be pickled, and reach the store by its path. A
        task whose worker dies must be tried again; it resumes from its checkpoint. If that fails
        too, its future raises SddError. `shutdown(cancel_futures=True)` also ends running tasks.

        Raises SddError if no workers can be started.
        """
        raise NotImplementedError

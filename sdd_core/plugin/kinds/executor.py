"""Where the tasks of a sweep are carried out."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from sdd_core.plugin.base import (  # noqa: F401 (they belong to the kinds below)
    AddedLater,
    Fraction,
    Frozen,
    NonNegative,
    Plugin,
    Positive,
    label,
)

if TYPE_CHECKING:
    import concurrent.futures



class Executor(Plugin):
    """Where the tasks of a sweep are carried out. It is no part of an experiment: the results are
    the same wherever they are made."""

    kind: ClassVar[str] = "executor"
    hook: ClassVar[str] = "sdd_executors"
    title: ClassVar[str] = "Executors"

    workers: int | None = Field(
        default=None, ge=1, description="tasks at a time; not given: as many as there are cores for"
    )

    def open(self, width: int) -> concurrent.futures.Executor:
        """Workers, of which a sweep keeps at most `width` busy.

        They are handed functions and arguments that can be pickled, and reach the store by its
        path. A task whose worker dies has to be tried again, it goes on from its checkpoint; when
        that does not help, its future raises SddError. `shutdown(cancel_futures=True)` ends
        tasks that are being carried out as well. Raises SddError when there can be no workers.
        """
        raise NotImplementedError

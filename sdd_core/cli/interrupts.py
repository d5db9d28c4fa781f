"""Ctrl-C that is not lost."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType
from typing import TYPE_CHECKING

from sdd_core import hookimpl

if TYPE_CHECKING:
    from sdd_core.sweeps.scheduler import Progress


class Interrupts:
    """While it is entered, Ctrl-C raises KeyboardInterrupt, and once more when it is looked for:
    Python drops an exception that comes up while it tidies up after an object.

    It looks at the end of a level, as an observer of a run, and whenever a sweep's progress does.
    """

    def __init__(self) -> None:
        self._came = False

    def __enter__(self) -> Interrupts:
        self._before = signal.signal(signal.SIGINT, self._interrupt)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        signal.signal(signal.SIGINT, self._before)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        self._came = True
        raise KeyboardInterrupt

    @hookimpl
    def sdd_level_end(self) -> None:
        """See hookspecs."""
        self.look()

    def look(self) -> None:
        """Raises KeyboardInterrupt if it came, now or before."""
        if self._came:
            raise KeyboardInterrupt

    def watching(self, progress: Progress) -> Progress:
        """A sweep's progress that looks for Ctrl-C too."""
        return _Watched(progress, self)


class _Watched:
    def __init__(self, progress: Progress, interrupts: Interrupts) -> None:
        self.ended = progress.ended
        self._looks = (interrupts.look, progress.look)

    def look(self) -> None:
        for look in self._looks:
            look()

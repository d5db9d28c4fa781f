"""Ctrl-C that is not lost."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType

from sdd_core import hookimpl


class Interrupts:
    """While it is entered, Ctrl-C raises KeyboardInterrupt, and as an observer of a run it does so
    once more at the end of the level: Python drops an exception that comes up while it tidies up
    after an object.
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
        if self._came:
            raise KeyboardInterrupt

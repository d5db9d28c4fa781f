"""Handle Ctrl-C so that it is never lost."""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType, TracebackType
from typing import TYPE_CHECKING

import click

from sdd_core.output.notices import say
from sdd_core.plugin.markers import hookimpl

if TYPE_CHECKING:
    from sdd_core.sweeps.scheduler import Progress


INTERRUPTED = 130
"""Exit code after Ctrl-C, the usual one of shells."""

STOPPED = "stopped"

SHOW_CURSOR = "\x1b[?25h\n"
"""Escape sequence that shows the cursor again, as a progress bar does at its end."""


class Stopped(click.ClickException):
    """Ctrl-C, reported as one line on standard error; exit code 130."""

    exit_code = INTERRUPTED

    def show(self, file: object = None) -> None:
        """Print the line."""
        say(self.message)


class Interrupts:
    """A context in which Ctrl-C raises KeyboardInterrupt, and raises it again at the next check if
    it was dropped: Python drops an exception raised in a finaliser.

    The checks are at the end of each epoch and level (as an observer of a run), at each look of a
    sweep's progress, and on leaving the context. During an import, which may swallow the exception
    or leave half a module, Ctrl-C ends the process instead, like a kill.
    """

    def __init__(self) -> None:
        self._came = False

    def __enter__(self) -> Interrupts:
        # Python delivers signals to the main thread only.
        self._listens = threading.current_thread() is threading.main_thread()
        if self._listens:
            self._before = signal.signal(signal.SIGINT, self._interrupt)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._listens:
            signal.signal(signal.SIGINT, self._before)
        if not isinstance(error, KeyboardInterrupt):
            self.look()

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        if _importing(frame):
            sys.stderr.write(SHOW_CURSOR if sys.stderr.isatty() else "")
            say(STOPPED)
            os._exit(INTERRUPTED)
        self._came = True
        raise KeyboardInterrupt

    @hookimpl
    def sdd_epoch_end(self) -> None:
        """See hookspecs."""
        self.look()

    @hookimpl
    def sdd_level_end(self) -> None:
        """See hookspecs."""
        self.look()

    def look(self) -> None:
        """Raise KeyboardInterrupt if it came and was dropped."""
        if self._came:
            self._came = False
            raise KeyboardInterrupt

    def watching(self, progress: Progress) -> Progress:
        """Return a sweep's progress that also checks for Ctrl-C."""
        return _Watched(progress, self)


def _importing(frame: FrameType | None) -> bool:
    """Return whether the frame is part of an import."""
    while frame is not None and not frame.f_code.co_filename.startswith("<frozen importlib"):
        frame = frame.f_back
    return frame is not None


class _Watched:
    def __init__(self, progress: Progress, interrupts: Interrupts) -> None:
        self.ended = progress.ended
        self._looks = (interrupts.look, progress.look)

    def look(self) -> None:
        for look in self._looks:
            look()

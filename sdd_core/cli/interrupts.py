"""Ctrl-C that is not lost."""

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
"""The exit code of what Ctrl-C ended, as shells have it."""

STOPPED = "stopped"

SHOW_CURSOR = "\x1b[?25h\n"
"""What a progress bar does at its end, as a terminal obeys it."""


class Stopped(click.ClickException):
    """Ctrl-C as click shows it: one line on standard error, exit code 130."""

    exit_code = INTERRUPTED

    def show(self, file: object = None) -> None:
        """Print the line."""
        say(self.message)


class Interrupts:
    """While it is entered, Ctrl-C raises KeyboardInterrupt, and once more when it is looked for:
    Python drops an exception that comes up while it tidies up after an object.

    It looks at the end of an epoch and of a level, as an observer of a run, whenever a sweep's
    progress does, and when it is left. In the middle of an import, which may swallow the exception
    or leave half a module, it ends the process instead, as a kill would.
    """

    def __init__(self) -> None:
        self._came = False

    def __enter__(self) -> Interrupts:
        # Only the main thread hears of it.
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
        """Raises KeyboardInterrupt if it came and was dropped."""
        if self._came:
            self._came = False
            raise KeyboardInterrupt

    def watching(self, progress: Progress) -> Progress:
        """A sweep's progress that looks for Ctrl-C too."""
        return _Watched(progress, self)


def _importing(frame: FrameType | None) -> bool:
    """Whether what is going on is part of an import."""
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

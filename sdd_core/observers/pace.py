"""How fast a run trains, and how long the rest of it takes."""

from __future__ import annotations

import math
from collections.abc import Callable
from time import monotonic


class Pace:
    """A clock for the epochs and levels of a run.

    A level that was reused says nothing about time. Each further level is taken to last as long as
    the last one that was trained, which is mostly too long, because sparser levels train faster.
    """

    def __init__(self, levels: int, now: Callable[[], float] = monotonic) -> None:
        """levels: the number of the last level."""
        self._levels, self._now = levels, now
        self._level_seconds: float | None = None
        self._since: float | None = None
        self._epoch_ended = 0.0
        self.level = self.epochs = self.done = 0

    def level_starts(self, level: int, epochs: int) -> None:
        """A level is about to be trained. Its time is counted from its first epoch, because kernels
        may be compiled before that."""
        self.level, self.epochs, self.done, self._since = level, epochs, 0, None

    def epoch_starts(self) -> None:
        """An epoch is about to be trained."""
        if self._since is None:
            self._since = self._now()

    def epoch_ends(self) -> None:
        """An epoch was trained and measured."""
        self.done += 1
        self._epoch_ended = self._now()

    def level_ends(self, level: int) -> None:
        """A level was trained and measured, or was reused."""
        if self._since is not None:
            self._level_seconds, self._since = self._now() - self._since, None
        self.level, self.epochs, self.done = level, 0, 0

    @property
    def rate(self) -> float:
        """Epochs a second of the level that is being trained, with evaluations; NaN: unknown."""
        seconds = 0.0 if self._since is None else self._epoch_ended - self._since
        return self.done / seconds if self.done and seconds > 0 else math.nan

    @property
    def left(self) -> float:
        """Seconds until the end of the run; NaN: unknown."""
        here = (self.epochs - self.done) / self.rate if self.epochs else 0.0
        each = self._level_seconds
        if each is None:
            each = self.epochs / self.rate if self.epochs else math.nan
        return here + each * max(0, self._levels - self.level)

    def __str__(self) -> str:
        return ", ".join(filter(None, [per_second(self.rate), time_left(self.left)]))


def per_second(rate: float) -> str:
    """Return a rate of epochs as text, `12.5 epochs/s`, or `8.0 s/epoch` if it is slow; '' if it is
    unknown."""
    if math.isnan(rate):
        return ""
    return f"{rate:.1f} epochs/s" if rate >= 1 else f"{1 / rate:.1f} s/epoch"


def time_left(seconds: float) -> str:
    """Return a time as text, `0:09 left` or `1:00:09 left`; '' if it is unknown or 0."""
    if not seconds > 0:
        return ""
    minutes, rest = divmod(math.ceil(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d} left" if hours else f"{minutes}:{rest:02d} left"

"""Ctrl-C, also where Python loses the exception that it raises."""

from __future__ import annotations

import os
import signal
import sys

import pytest

from sdd_core.cli.interrupts import Interrupts


class Tidying:
    """Interrupted while it is thrown away."""

    def __del__(self) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(1000):
            pass


def test_an_interrupt_that_python_drops_comes_at_the_end_of_the_level(monkeypatch):
    dropped = []
    monkeypatch.setattr(sys, "unraisablehook", lambda raised: dropped.append(raised.exc_type))
    with Interrupts() as interrupts:
        interrupts.sdd_level_end()
        Tidying()
        assert dropped == [KeyboardInterrupt]
        with pytest.raises(KeyboardInterrupt):
            interrupts.sdd_level_end()


def test_a_sweep_looks_for_it_whenever_its_progress_does(monkeypatch):
    monkeypatch.setattr(sys, "unraisablehook", lambda raised: None)
    told = []

    class Told:
        def look(self):
            told.append("look")

        def ended(self, run, reason):
            told.append(run)

    with Interrupts() as interrupts:
        watched = interrupts.watching(Told())
        watched.look()
        Tidying()
        watched.ended(3, None)
        assert told == ["look", 3]
        with pytest.raises(KeyboardInterrupt):
            watched.look()


def test_otherwise_it_comes_at_once_and_afterwards_all_is_as_before():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), Interrupts():
        os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) == before

"""Ends the processes of a Ray that was started on this machine as soon as the process that started
it is no more, however that ended; Ray's own agents would go on for a minute.

    guard.py MARK

MARK stands in the environment of all these processes, and of no other. Standard input ends with the
process that holds its other end. It is run as a file and imports nothing but the standard library.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path


def main(mark: bytes) -> None:
    """Wait for the end of standard input, then kill until nobody is left."""
    sys.stdin.buffer.read()
    quiet = 0
    for _ in range(100):
        found = marked(mark)
        for process in found:
            with suppress(OSError):  # it has just ended
                os.kill(process, signal.SIGKILL)
        quiet = 0 if found else quiet + 1
        if quiet == 3:  # none that another was just starting
            return
        time.sleep(0.1)


def marked(mark: bytes) -> list[int]:
    """The processes whose environment has the mark."""
    found = []
    for file in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):  # of another user, or ended
            if mark in file.read_bytes():
                found.append(int(file.parent.name))
    return found


if __name__ == "__main__":
    main(sys.argv[1].encode())

"""Ends the processes of a Ray started on this machine when the process that started it has ended,
for whatever reason; Ray's own agents would continue for a minute.

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
    """Wait for the end of standard input, then kill marked processes until none is left."""
    sys.stdin.buffer.read()
    quiet = 0
    for _ in range(100):
        found = marked(mark)
        for process in found:
            with suppress(OSError):  # it has just ended
                os.kill(process, signal.SIGKILL)
        quiet = 0 if found else quiet + 1
        if quiet == 3:  # a process that was just being started would be found by now
            return
        time.sleep(0.1)


def marked(mark: bytes) -> list[int]:
    """Return the ids of the processes whose environment has the mark."""
    found = []
    for file in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):  # of another user, or ended
            if mark in file.read_bytes():
                found.append(int(file.parent.name))
    return found


if __name__ == "__main__":
    main(sys.argv[1].encode())

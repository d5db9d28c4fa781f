"""How a test waits for another process: for what can be seen of it, never for the clock."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from typing import Any


def wait_until(condition: Callable[[], Any], process: subprocess.Popen[Any] | None = None) -> None:
    """Wait for as long as it takes, unless it is for a process that has ended. The time limit of
    all tests ends a wait for what never comes."""
    while not condition():
        assert process is None or process.poll() is None, f"it ended with {process.returncode}"
        time.sleep(0.005)

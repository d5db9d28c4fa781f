"""A worker process of the local executor: carries out the requests on its standard input.

    requests, standard input: the pickled sys.path of the process that asks; then pickled bytes,
        which are themselves a pickled (function, arguments)
    answers, standard output: a pickled "ready"; then a pickled (True, what it returned) or (False,
        what it raised)

It is run as a file and imports nothing but the standard library.
"""

from __future__ import annotations

import os
import pickle
import queue
import signal
import sys
import threading
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from typing import Any


def main() -> None:
    """Answer requests, one after another, until standard input ends."""
    # The sweep handles Ctrl-C and ends its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "wb")
    # What a plugin prints is not an answer.
    os.dup2(2, 1)
    sys.meta_path.insert(0, StandardLibrary())
    sys.path[:] = pickle.load(sys.stdin.buffer)
    pickle.dump("ready", answers)
    answers.flush()
    requests: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(requests,), daemon=True).start()
    while True:
        request = requests.get()
        answers.write(_answer(request))
        answers.flush()


class StandardLibrary(MetaPathFinder):
    """Finds the standard library's modules where they are, whatever comes first on the path: a
    user's own queue.py in a notebook's folder is not one of them."""

    def __init__(self) -> None:
        folder = os.path.dirname(os.__file__)
        self._folders = [folder, os.path.join(folder, "lib-dynload")]

    def find_spec(self, name: str, path: Any, target: Any = None) -> ModuleSpec | None:
        """See importlib. None, and the path decides, for every other module."""
        if path is not None or name not in sys.stdlib_module_names:
            return None
        return PathFinder.find_spec(name, self._folders)


def _listen(requests: queue.SimpleQueue[bytes]) -> None:
    try:
        while True:
            requests.put(pickle.load(sys.stdin.buffer))
    except (EOFError, pickle.UnpicklingError):
        # The sweep has ended or was killed: nobody needs the current task, and the level's lock
        # must be free for the next sweep.
        os._exit(0)


def _answer(request: bytes) -> bytes:
    try:
        function, arguments = pickle.loads(request)
        answer: tuple[bool, Any] = (True, function(*arguments))
    except Exception as error:
        answer = (False, error)
    try:
        return pickle.dumps(answer)
    except Exception as error:
        return pickle.dumps((False, RuntimeError(f"{answer[1]!r} cannot be sent: {error}")))


if __name__ == "__main__":
    main()

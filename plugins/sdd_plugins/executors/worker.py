"""A worker process of the local executor: carries out what its standard input brings.

    requests, standard input: pickled bytes, which are themselves a pickled (function, arguments)
    answers, standard output: a pickled (True, what it returned) or (False, what it raised)
"""

from __future__ import annotations

import os
import pickle
import queue
import signal
import sys
import threading
from typing import Any


def main() -> None:
    """Answer requests, one after another, until there are no more."""
    # An interruption on the keyboard is for the sweep, which ends its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    # What a plugin prints is not an answer.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    requests: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(requests,), daemon=True).start()
    while True:
        request = requests.get()
        answers.write(_answer(request))
        answers.flush()


def _listen(requests: queue.SimpleQueue[bytes]) -> None:
    try:
        while True:
            requests.put(pickle.load(sys.stdin.buffer))
    except (EOFError, pickle.UnpicklingError):
        # The sweep is over, or was killed: nobody wants what is being done, and the level's lock
        # has to be free for the next sweep.
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

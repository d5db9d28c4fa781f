"""The command `sdd`, also as `python -m sdd_core`."""

import atexit
import gc
import os
import signal
import sys


def main() -> None:
    """Run the command line. From the start, Ctrl-C ends it with exit code 130 and one line, and
    errors of writing to standard error do not stop it."""
    signal.signal(signal.SIGINT, _stop)
    _open_closed()
    # The last collection of garbage would look at every object of torch, which takes a second, for
    # memory that goes back to the system anyway.
    atexit.register(gc.freeze)
    from sdd_core.cli import main as sdd  # noqa: PLC0415 (takes a while)
    from sdd_core.output.notices import lenient  # noqa: PLC0415

    # Also for the output of other libraries.
    sys.stderr = lenient(sys.stderr)
    # A KeyboardInterrupt that Python drops is raised again, see sdd_core.cli.interrupts.
    others = sys.unraisablehook
    sys.unraisablehook = lambda lost: lost.exc_type is KeyboardInterrupt or others(lost)
    sdd()


def _stop(*_: object) -> None:
    """Exit immediately, while nothing needs cleaning up: a KeyboardInterrupt during an import would
    be ignored, or leave an incomplete module."""
    try:
        os.write(2, b"stopped\n")
    finally:
        os._exit(130)


def _open_closed() -> None:
    """Open closed standard streams, so that no other file gets their numbers and receives the
    output of libraries."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number


if __name__ == "__main__":
    main()

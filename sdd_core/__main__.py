"""The command `sdd`, also as `python -m sdd_core`."""

import os
import signal
import sys


def main() -> None:
    """Run the command line. From the first moment on Ctrl-C ends it with exit code 130 and one
    line, and what cannot be written to standard error stops nothing."""
    signal.signal(signal.SIGINT, _stop)
    _open_closed()
    from sdd_core.cli import main as sdd  # noqa: PLC0415 (takes a while)
    from sdd_core.output.notices import lenient  # noqa: PLC0415

    # For what others write there too.
    sys.stderr = lenient(sys.stderr)
    # What Python drops of Ctrl-C comes up again, see sdd_core.cli.interrupts.
    others = sys.unraisablehook
    sys.unraisablehook = lambda lost: lost.exc_type is KeyboardInterrupt or others(lost)
    sdd()


def _stop(*_: object) -> None:
    """End at once, while there is nothing to tidy up: a KeyboardInterrupt in the middle of an
    import would be swallowed, or leave half a module."""
    try:
        os.write(2, b"stopped\n")
    finally:
        os._exit(130)


def _open_closed() -> None:
    """Open the standard streams that are closed, so that no file gets their numbers and what
    libraries write there."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free


if __name__ == "__main__":
    main()

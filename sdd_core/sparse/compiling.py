"""The process that compiles: all the code that a network needs, by training a tiny one."""

from __future__ import annotations

import json
import os
import sys
import threading

import numpy as np
from filelock import FileLock

from sdd_core.sparse.ahead import Needed, file_of, folder, is_cached
from sdd_core.sparse.compilation import kept_files
from sdd_core.sparse.network import Network, SgdSettings, State
from sdd_core.sparse.perceptron import Perceptron
from sdd_core.sparse.residual import ResidualNetwork


def compile_kernels(needed: Needed) -> list[str]:
    """Take a step and evaluate, and return the files with the machine code."""
    architecture = needed.architecture()
    shapes = architecture.shapes()
    parameters = [np.ones(shape, np.float32) for shape in shapes]
    norms = [(np.ones(4, np.float32), np.ones(4, np.float32)) for _ in architecture.norms]
    kind: type[Network] = ResidualNetwork if needed.images else Perceptron
    network = kind(architecture, State(parameters, None, norms), [None] * len(shapes),
                   SgdSettings(0.0, 0.0), ["sparse"])
    images, labels = np.ones((1, architecture.features), np.float32), np.zeros(1, np.int64)
    network.train_epoch(images, labels, np.zeros(1, np.int64), needed.batch_size, [0.1])
    network.evaluate(images, labels)
    return kept_files()


def main() -> None:
    """Compile what the command line says. Of several processes, one compiles."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    needed, place = Needed(*json.loads(sys.argv[1])), folder()
    if place is None:
        return
    with FileLock(place / ".sdd-kernels.lock"):
        if not is_cached(needed):
            note, files = place / file_of(needed), compile_kernels(needed)
            partial = note.with_suffix(".partial")
            partial.write_text(json.dumps(files))
            partial.replace(note)


def _end_with_parent() -> None:
    """End when the other end of the pipe is closed."""
    os.read(0, 1)
    os._exit(1)


if __name__ == "__main__":
    main()
    os._exit(0)  # a run waits for this process, whose usual end takes more than half a second

"""The default sweep, `sdd run`: 25 levels on the digits, where overhead is everything.

    python benchmarks/digits.py [--repeats N]

Against the same levels in plain torch on resident tensors under dense masks, with two threads of
torch or one, whichever is faster. `sdd` also stores every level and computes all its metrics.
"""

from __future__ import annotations

import argparse
from statistics import median

import torch
from baseline import Clock, table, targets
from sweeps import eager_sweep, replicas

from sdd_core import Experiment


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=3)
    args, clock = Clock.chosen(parser)
    experiment = Experiment.make({})
    data = experiment.data.load(None)
    plain: dict[int, list[float]] = {threads: [] for threads in clock.threads}
    ours = []
    with replicas(1, clock, None) as alone:
        for _ in range(args.repeats):
            for threads, times in plain.items():
                torch.set_num_threads(threads)
                times.append(sum(eager_sweep(experiment, data, clock)))
            ours.append(alone.run([{}])[1])
    theirs, own = min(median(times) for times in plain.values()), median(ours)
    table(["", "baseline", "sdd", "ratio", "target"],
          [["default sweep on the digits", f"{theirs:.1f} s", f"{own:.1f} s",
            f"{theirs / own:.1f}x", f"{targets(avx512=(8,), avx2=(6,))[0]}x"]])


if __name__ == "__main__":
    main()

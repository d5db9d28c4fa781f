"""How good recommended sparsities are, beside rules that look at nothing.

    python benchmarks/recommendations.py STORE...

For every run of the stores with at least 12 levels: by how much the test accuracy of the level that
a rule chooses is below the best. A group of runs that differ in their seed counts once.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from statistics import fmean

from sdd_core import by_learning_distance, by_test_accuracy, group, load_plugins
from sdd_core.analysis.tidy import stored_results

LEAST_LEVELS = 12


def main() -> None:
    """Print a table: the rules, and how far below the best they are."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stores", nargs="+", type=Path, metavar="STORE")
    stores = parser.parse_args().stores
    plugins = load_plugins()
    groups = [one for store in stores for one in group(stored_results(store, plugins)[0])]
    found: dict[str, list[float]] = {}
    runs = 0
    for one in groups:
        shortfalls: dict[str, list[float]] = {}
        for result in one.results:
            run = group([result])[0]
            accuracy = result.curve("test_accuracy")
            measured, distance = by_test_accuracy(run), by_learning_distance(run)
            if len(accuracy) < LEAST_LEVELS or measured is None or distance is None:
                continue
            chosen = {"by test accuracy": measured.level, "by learning distance": distance.level,
                      "never prune": 0}
            for fixed in (0.95, 0.99, 0.995):
                chosen[f"always {100 * fixed:g} %"] = min(
                    range(len(accuracy)),
                    key=lambda level: abs(result.sparsity[level] - fixed))
            best = max(value for value in accuracy if not math.isnan(value))
            runs += 1
            for rule, level in chosen.items():
                if not math.isnan(accuracy[level]):
                    shortfalls.setdefault(rule, []).append(best - accuracy[level])
        for rule, values in shortfalls.items():
            found.setdefault(rule, []).append(fmean(values))
    print(f"{runs} runs in {max(map(len, found.values()), default=0)} groups\n")
    print("| rule | mean | worst group |\n|---|---|---|")
    for rule, values in found.items():
        print(f"| {rule} | {fmean(values):.3f} | {max(values):.3f} |")


if __name__ == "__main__":
    main()

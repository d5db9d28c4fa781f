"""The lottery ticket that loses (He et al., 2022, sec. 4.3): with wrong labels in the training
set, a ticket (its mask and its original initialisation) does not always beat fresh weights.

    python examples/losing_ticket.py

Three networks at each sparsity: `ticket` is rewound to its initialisation, `reinit` trains fresh
weights under the ticket's own mask, and `scratch` trains fresh weights at every level, so that
its masks come from networks that were never a ticket. The first two share all their levels.
"""

import argparse

import sdd_core

RIVALS = {
    "ticket": {"retrain": "rewind"},
    "reinit": {"retrain": "rewind", "ablation": "reinit"},
    "scratch": {"retrain": "scratch"},
}


def main() -> dict[str, sdd_core.Result]:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--levels", type=int, default=25)
    arguments.add_argument("--epochs", type=int, default=60)
    arguments.add_argument("--rate", type=float, default=0.4, help="of wrong labels")
    given = arguments.parse_args()
    return {
        name: sdd_core.run(
            data="digits",
            noise={"name": "symmetric", "rate": given.rate},
            train={"epochs": given.epochs},
            levels=given.levels,
            progress=True,
            **rival,
        )
        for name, rival in RIVALS.items()
    }


if __name__ == "__main__":
    results = main()
    curves = {name: result.curve("test_accuracy") for name, result in results.items()}
    print("sparsity", *(f"{name:>8}" for name in curves))
    for level, sparsity in enumerate(results["ticket"].sparsity):
        print(f"{sparsity:8.2%}", *(f"{curve[level]:8.3f}" for curve in curves.values()))
    lost = [level for level, ticket in enumerate(curves["ticket"])
            if ticket < max(curves["reinit"][level], curves["scratch"][level])]
    print(f"the ticket loses at {len(lost)} of {len(curves['ticket'])} levels")

"""`sdd fit-kernels`: measure the costs that decide which sparse kernels are used."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from sdd_core.cli.options import store_option
from sdd_core.cli.terminal import console, echo
from sdd_core.errors import SddError
from sdd_core.installation import install_hint
from sdd_core.output.fitting import FittingTable
from sdd_core.runs.store import Store
from sdd_core.sparse.costs import default_costs


@click.command("fit-kernels")
@store_option
@click.option("--repeats", type=click.IntRange(min=1), default=30, show_default=True,
              help="Number of timings per cost; the shortest counts.")
@click.option("--defaults", is_flag=True, help="Restore the default costs; measure nothing.")
def fit_kernels(store: Path, repeats: int, defaults: bool) -> None:
    """Measure which kernels are fast on this machine, for all further levels in a store.

    This takes seconds; nothing else should run meanwhile. Trained levels do not change, and an
    interrupted level is resumed with its own kernels. Kernels differ in rounding, so two stores
    with different costs may differ in the last bits.
    """
    try:
        from sdd_core.training.fit_costs import fit_costs  # noqa: PLC0415 (imports numba)
    except ImportError as error:
        raise SddError(f"sparse kernels cannot be used here: {error}; "
                       f"{install_hint()}") from None
    default = default_costs()
    costs = default if defaults else fit_costs(repeats=repeats)
    table = FittingTable("cost", "nanoseconds", "default")
    for name, cost in asdict(costs).items():
        table.add_row(name, f"{cost:,.1f}", f"{getattr(default, name):,.1f}")
    console().print(table)
    Store(store).save_kernel_costs(None if defaults else costs)
    echo(f"{store} now uses these costs.")

"""Recipes: the claims of the paper as experiments, at scales from a laptop to a cluster."""

from pathlib import Path

from sdd_core import hookimpl


@hookimpl
def sdd_recipes() -> list[Path]:
    return sorted(Path(__file__).parent.glob("*.toml"))

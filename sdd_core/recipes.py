"""Recipes: a claim, and the experiments that put it to the test, at several scales.

A recipe is a TOML file:

    title = "More label noise"
    source = "Section 3"                  # where the claim stands
    claim = "..."
    metrics = ["test_accuracy"]           # a figure for each
    compare = false                       # whether to say where one group beats another
    correlate = []                        # metrics to be ranked against test accuracy by level

    [[vary]]                              # what is laid over one another in one figure
    title = "10 to 80 % of wrong labels"
    settings = [{ noise = { rate = [0.1, 0.8] } }]

What is varied is laid over the settings of each scale, in `scales.toml` beside the recipe: lists
of tables `[[small]]`, `[[medium]]`, `[[paper]]` with a title and settings. A recipe that has such
tables itself uses those instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdd_core.errors import SddError
from sdd_core.experiment import read_toml

SCALES = ("small", "medium", "paper")
SCALE_FILE = "scales.toml"

Settings = dict[str, Any]


@dataclass(frozen=True)
class Figure:
    """Experiments that are shown together: `settings` as `sdd_core.sweep` takes them."""

    base: str
    title: str
    settings: tuple[Settings, ...]


@dataclass(frozen=True)
class Recipe:
    """A claim with its experiments.

    figures: for each scale those of each common setting, in the order of the files.
    """

    name: str
    title: str
    source: str
    claim: str
    metrics: tuple[str, ...]
    compare: bool
    correlate: tuple[str, ...]
    figures: Mapping[str, tuple[Figure, ...]]

    @classmethod
    def read(cls, file: Path) -> Recipe:
        """The recipe in a file. Raises SddError that names the file and what is wrong with it."""
        common, own = read_toml(file.with_name(SCALE_FILE)), read_toml(file)
        try:
            return cls(
                name=file.stem,
                title=own["title"],
                source=own["source"],
                claim=" ".join(own["claim"].split()),
                metrics=tuple(own["metrics"]),
                compare=own.get("compare", False),
                correlate=tuple(own.get("correlate", ())),
                figures={
                    scale: tuple(
                        Figure(
                            base["title"],
                            vary["title"],
                            tuple(overlay(base["settings"], one) for one in vary["settings"]),
                        )
                        for base in own.get(scale, common[scale])
                        for vary in own["vary"]
                    )
                    for scale in SCALES
                },
            )
        except KeyError as error:
            raise SddError(f"recipe {file} has no {error.args[0]!r}") from None


def overlay(below: Mapping[str, Any], above: Mapping[str, Any]) -> Settings:
    """Settings with others laid over them, section by section; a section that names another
    plugin replaces the one below."""
    merged: Settings = dict(below)
    for section, value in above.items():
        under = merged.get(section)
        if isinstance(under, str):
            under = {"name": under}
        same = isinstance(value, Mapping) and value.get("name") in (None, (under or {}).get("name"))
        merged[section] = {**under, **value} if same and isinstance(under, Mapping) else value
    return merged


def find_recipe(name: str, files: Iterable[Path]) -> Recipe:
    """The recipe of that name among files. Raises SddError: there is none."""
    found = {file.stem: file for file in files if file.name != SCALE_FILE}
    if name not in found:
        raise SddError(f"no recipe is called {name!r}; there are {', '.join(sorted(found))}")
    return Recipe.read(found[name])


def read_recipes(files: Iterable[Path]) -> list[Recipe]:
    """All recipes among files, by name."""
    chosen = sorted(file for file in files if file.name != SCALE_FILE)
    return [Recipe.read(file) for file in chosen]

"""Recipes: a claim, and the experiments that put it to the test, at several scales.

A recipe is a TOML file:

    title = "More label noise"
    source = "Section 2.3, Figure 4"      # where the claim stands
    claim = "..."
    note = ""                             # what a reader of the page should know besides
    metrics = ["test_accuracy"]           # a figure for each
    compare = false                       # whether to say where one group beats another
    correlate = []                        # metrics to be ranked against test accuracy by level
    curves = []                           # metrics that are a curve at each level, to be drawn

    [[vary]]                              # what is laid over one another in one figure
    title = "10 to 80 % of wrong labels"
    settings = [{ noise = { rate = [0.1, 0.8] } }]

What is varied is laid over the settings of each scale, in `scales.toml` beside the recipe: lists
of tables `[[small]]`, `[[medium]]`, `[[paper]]` with a title and settings. A recipe that has such
tables itself uses those instead. Such a table may also have options for plugins that recipes
choose, which count where a recipe does not set them itself:

    [paper.options]
    retrain.finetune.lr = 0.1
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdd_core.errors import SddError
from sdd_core.experiment.settings import read_toml

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

    note: what the claim leaves out, or what the settings are; may be empty.
    curves: metrics that map places to numbers, of which each figure's runs are drawn besides.
    figures: for each scale those of each common setting, in the order of the files.
    """

    name: str
    title: str
    source: str
    claim: str
    note: str
    metrics: tuple[str, ...]
    compare: bool
    correlate: tuple[str, ...]
    curves: tuple[str, ...]
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
                note=" ".join(own.get("note", "").split()),
                metrics=tuple(own["metrics"]),
                compare=own.get("compare", False),
                correlate=tuple(own.get("correlate", ())),
                curves=tuple(own.get("curves", ())),
                figures={
                    scale: tuple(
                        Figure(
                            base["title"],
                            vary["title"],
                            tuple(overlay(base["settings"], one, base.get("options", {}))
                                  for one in vary["settings"]),
                        )
                        for base in own.get(scale, common[scale])
                        for vary in own["vary"]
                    )
                    for scale in SCALES
                },
            )
        except KeyError as error:
            raise SddError(f"recipe {file} has no {error.args[0]!r}") from None


def overlay(
    below: Mapping[str, Any], above: Mapping[str, Any], options: Mapping[str, Any] | None = None
) -> Settings:
    """Settings with others laid over them, section by section, and each of a list of alternatives.

    A section that names another plugin replaces the one below. options: by section and plugin,
    those that such a plugin has where `above` does not set them.
    """
    merged: Settings = dict(below)
    for section, value in above.items():
        given = (options or {}).get(section, {})
        several = value if isinstance(value, list) else [value]
        laid = [_laid(merged.get(section), one, given) for one in several]
        merged[section] = laid if isinstance(value, list) else laid[0]
    return merged


def _laid(below: Any, above: Any, options: Mapping[str, Any]) -> Any:
    """A section laid over the one below; `options` are by plugin."""
    if isinstance(below, str):
        below = {"name": below}
    if not isinstance(below, Mapping):
        below = {}
    name = above.get("name") if isinstance(above, Mapping) else above
    if isinstance(name, str) and name != below.get("name"):
        below = options.get(name, {})
    if isinstance(above, Mapping):
        return {**below, **above}
    # A plugin's name alone, a number, a list.
    return {**below, "name": above} if below and isinstance(above, str) else above


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

"""Read recipes: a claim, and the experiments that test it, at several scales.

A recipe is a TOML file:

    title = "More label noise"
    source = "Section 2.3, Figure 4"      # place of the claim in the paper
    claim = "..."
    note = ""                             # a remark for readers of the page
    metrics = ["test_accuracy"]           # one figure for each
    compare = false                       # whether to report where one group beats another
    correlate = []                        # metrics to rank against test accuracy by level
    curves = []                           # metrics to draw as a curve at each level

    [[vary]]                              # the groups of one figure
    title = "10 to 80 % of wrong labels"
    settings = [{ noise = { rate = [0.1, 0.8] } }]
    scales = ["small"]                    # the scales that have this figure; default: all

The settings of `vary` override those of each scale in `scales.toml` beside the recipe, which has
lists of tables `[[small]]`, `[[medium]]`, `[[paper]]` with a title and settings. A recipe with such
tables uses its own instead. A scale's table may also have default options for the plugins that
recipes choose:

    [paper.options]
    retrain.finetune.lr = 0.1
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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
    """Experiments that are shown together. settings: as for `sdd_core.sweep`."""

    base: str
    title: str
    settings: tuple[Settings, ...]


@dataclass(frozen=True)
class Recipe:
    """A claim with its experiments.

    note: a remark on the claim or the settings; may be empty.
    curves: metrics that map places to numbers, to be drawn in addition.
    figures: the figures of each scale, in the order of the files.
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
        """Return the recipe in a file. Raises SddError with the file and the fault."""
        common, recipe = read_toml(file.with_name(SCALE_FILE)), read_toml(file)
        try:
            return cls(
                name=file.stem,
                title=recipe["title"],
                source=recipe["source"],
                claim=" ".join(recipe["claim"].split()),
                note=" ".join(recipe.get("note", "").split()),
                metrics=tuple(recipe["metrics"]),
                compare=recipe.get("compare", False),
                correlate=tuple(recipe.get("correlate", ())),
                curves=tuple(recipe.get("curves", ())),
                figures={
                    scale: tuple(
                        Figure(
                            base["title"],
                            vary["title"],
                            tuple(overlay(base["settings"], one, base.get("options", {}))
                                  for one in vary["settings"]),
                        )
                        for base in recipe.get(scale, common[scale])
                        for vary in recipe["vary"]
                        if scale in _scales(file, vary)
                    )
                    for scale in SCALES
                },
            )
        except KeyError as error:
            raise SddError(f"recipe {file} has no {error.args[0]!r}") from None


def _scales(file: Path, vary: Mapping[str, Any]) -> Sequence[str]:
    """Return the scales that have a figure."""
    chosen: Sequence[str] = vary.get("scales", SCALES)
    for one in chosen:
        if one not in SCALES:
            raise SddError(f"recipe {file}: no scale is called {one!r}; there are "
                           f"{', '.join(SCALES)}")
    return chosen


def overlay(
    below: Mapping[str, Any], above: Mapping[str, Any], options: Mapping[str, Any] | None = None
) -> Settings:
    """Return the settings `below`, overridden by `above` section by section. A list in `above`
    gives a list of alternatives.

    A section with another plugin replaces the one below. options: default options of such a plugin,
    by section and plugin.
    """
    merged: Settings = dict(below)
    for section, value in above.items():
        given = (options or {}).get(section, {})
        several = value if isinstance(value, list) else [value]
        laid = [_laid(merged.get(section), one, given) for one in several]
        merged[section] = laid if isinstance(value, list) else laid[0]
    return merged


def _laid(below: Any, above: Any, options: Mapping[str, Any]) -> Any:
    """Return a section overridden by the one above. options: default options by plugin."""
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
    """Return the recipe with a name. Raises SddError if there is none."""
    found = {file.stem: file for file in files if file.name != SCALE_FILE}
    if name not in found:
        raise SddError(f"no recipe is called {name!r}; there are {', '.join(sorted(found))}")
    return Recipe.read(found[name])


def read_recipes(files: Iterable[Path]) -> list[Recipe]:
    """Return all recipes among files, sorted by name."""
    chosen = sorted(file for file in files if file.name != SCALE_FILE)
    return [Recipe.read(file) for file in chosen]

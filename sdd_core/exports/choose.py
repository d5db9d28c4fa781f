"""Choose the level to export."""

from __future__ import annotations

from contextlib import suppress

from sdd_core.errors import SddError
from sdd_core.level.result import LevelResult
from sdd_core.runs.result import Result

FORMS = "a level's number, recommended, best, or a sparsity such as 95%"


def choose_level(result: Result, wanted: int | str) -> LevelResult:
    """Return a level of a result: by its number, `recommended`, `best`, or the one nearest to a
    sparsity such as `95%`; see the methods of `Result`. Raises SddError if there is none."""
    text = str(wanted).strip()
    if text in {"recommended", "best"}:
        return result.recommended if text == "recommended" else result.best
    if not result.levels:
        raise SddError(f"run {result.run} has no finished level yet; `sdd resume {result.folder}` "
                       "continues it")
    with suppress(ValueError):
        if text.endswith("%"):
            # Not divided by 100, which would round 93.1 to 0.9309999999999999.
            return result.at(float(f"{text[:-1].strip()}e-2"))
        number = int(text)
        if 0 <= number < len(result.levels):
            return result.levels[number]
        raise SddError(f"run {result.run} has no level {number}; it has levels 0 to "
                       f"{len(result.levels) - 1}; for a sparsity write, for example, 95%")
    raise SddError(f"level {text!r} is unknown; expected {FORMS}")

"""Read and write `metrics.jsonl`: the metrics of a run, one line per level.

Lines are appended, so that a level costs the same however many there are; of two lines for one
level the later counts. Each line has a checksum that is valid only for this run. Lines from before
the introduction of checksums have none; they are accepted if the run's record has none either.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError

from sdd_core.errors import format_error
from sdd_core.files.entries import SUMS, checksums
from sdd_core.files.reading import (
    Damaged,
    exists,
    parse_json,
    read_bytes,
    seal,
    unseal,
)
from sdd_core.level.level import Epoch
from sdd_core.runs.record import Strict, digest_of, fault

METRICS = "metrics.jsonl"

Key = Annotated[str, Field(pattern="^[0-9a-f]{40}$")]
Share = Annotated[float, Field(ge=0, le=1)]

AT_MOST = {
    "test_accuracy": 1.0,
    "best_test_accuracy": 1.0,
    "train_accuracy": 1.0,
    "train_accuracy_clean": 1.0,
    "train_accuracy_mislabelled": 1.0,
    "learning_distance": float("inf"),
}
"""Upper limits of the metrics that reports and phases use; they are numbers >= 0, or None."""


def metric_faults(metrics: Mapping[str, Any]) -> dict[str, str]:
    """Return the faults of metrics that reports use, in a few words, by name."""
    return {
        name: f"{name} is {metrics[name]!r}; expected a number from 0 to {most:g}"
        for name, most in AT_MOST.items()
        if metrics.get(name) is not None
        and not (type(metrics[name]) in {int, float} and 0 <= metrics[name] <= most)
    }


def _usable(metrics: dict[str, Any]) -> dict[str, Any]:
    for wrong in metric_faults(metrics).values():
        raise ValueError(wrong)
    return metrics


class Row(Strict):
    """A line of `metrics.jsonl`.

    metrics: finite numbers by name, see `sdd_core.plugin.kinds.metric.Metric`.
    """

    level: int = Field(ge=0, le=10_000)
    key: Key
    measured_by: Key | None
    sparsity: Share
    density: Share
    diverged: bool
    metrics: Annotated[dict[str, Any], AfterValidator(_usable)]


# NaN and infinity are those of a level whose training diverged.
EPOCHS = TypeAdapter(
    tuple[Epoch, ...], config=ConfigDict(strict=True, extra="forbid", allow_inf_nan=True)
)


def parse_epochs(content: bytes) -> tuple[Epoch, ...]:
    """Return the epochs in an `epochs.jsonl`. Raises Damaged."""
    try:
        return EPOCHS.validate_json(b"[" + b",".join(content.splitlines()) + b"]")
    except ValidationError as error:
        raise Damaged(f"it is not a list of epochs: {error.errors()[0]['msg']}") from None


@dataclass(frozen=True)
class Rows:
    """The rows in a file.

    problems: a line for each damaged row. content: the bytes of the file, None if there is none.
    """

    by_level: dict[int, Row]
    problems: tuple[str, ...] = ()
    content: bytes | None = None


def read_rows(folder: Path, run: str, with_checksums: bool) -> Rows:
    """Return the rows in a run's folder. Raises SddError when the file cannot be read.

    run: the run's name. with_checksums: treat lines without a checksum as damaged.
    """
    file = folder / METRICS
    try:
        content = read_bytes(file)
    except FileNotFoundError:
        return Rows({})
    rows, problems = {}, []
    *lines, last = content.split(b"\n")
    for number, line in enumerate(lines, start=1):
        try:
            row = _parse(line, run, with_checksums)
            rows[row.level] = row
        except Damaged as error:
            problems.append(f"line {number} of {file} is damaged ({error}); `sdd resume {folder}` "
                            "measures that level again")
    # The last line may be partial, or lack only its line end, if the process writing it died.
    with suppress(Damaged):
        row = _parse(last, run, with_checksums)
        rows[row.level] = row
    return Rows(rows, tuple(problems), content)


def whole_rows(folder: Path, run: str, with_checksums: bool) -> list[Row]:
    """Return the rows of all levels in a run's folder, in order.

    Raises Damaged when one is missing or damaged, so that no summary is computed from only some of
    the levels.
    """
    for _ in range(2):  # once more for a level that is being added
        rows = read_rows(folder, run, with_checksums)
        if rows.problems:
            raise Damaged(rows.problems[0])
        first = next(level for level in count() if level not in rows.by_level)
        # A level has its row before it has its folder.
        if first == len(rows.by_level) and not exists(folder / "levels" / f"{first:02d}"):
            return [rows.by_level[level] for level in range(first)]
    raise Damaged(f"{folder / METRICS} lacks level {first} of the run; `sdd resume {folder}` "
                  "measures it again")


def read_epochs(folder: Path, row: Row, with_checksums: bool) -> tuple[dict[str, Any], ...]:
    """Return the measurements after each epoch of a level. Raises Damaged when they are missing,
    damaged or of another level than the row, and SddError when they cannot be read."""
    level = folder / "levels" / f"{row.level:02d}"
    name = SUMS
    try:
        sums = checksums(level)
        if sums is None and (with_checksums or exists(level / SUMS)):
            raise Damaged("it was changed after it was written")
        if sums is not None:
            name = "level.json"
            found = parse_json(_checked(level, name, sums))
            if not isinstance(found, dict) or found.get("key") != row.key:
                raise Damaged("it belongs to another level")
        name = "epochs.jsonl"
        return tuple(vars(one) for one in parse_epochs(_checked(level, name, sums)))
    except (FileNotFoundError, Damaged) as error:
        raise Damaged(f"{level / name} is missing or damaged ({format_error(error)}); `sdd resume "
                      f"{folder}` makes it again") from None


def _checked(folder: Path, name: str, sums: Mapping[str, str] | None) -> bytes:
    content = read_bytes(folder / name)
    if sums is not None and sums.get(name) != digest_of(content):
        raise Damaged("its checksum differs")
    return content


def line_of(row: Row, run: str) -> str:
    """Return a row as a line of the file, without a line end."""
    return seal(dict(row), run)


def text_of(rows: Mapping[int, Row], run: str) -> str:
    """Return the text of a file with one line for each level, in order."""
    return "".join(f"{line_of(rows[level], run)}\n" for level in sorted(rows))


def _parse(line: bytes, run: str, with_checksums: bool) -> Row:
    text, sealed = unseal(line, run)
    if with_checksums and not sealed:
        raise Damaged("it has no checksum")
    try:
        row = Row.model_validate_json(text)
        if not sealed:
            json.dumps(row.metrics, allow_nan=False)  # Python reads infinity, JSON has none
    except (ValueError, RecursionError) as error:
        raise Damaged(fault(error)) from None
    return row

"""`sdd_core.export`: write the network of a level, and show that what was written is right."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sdd_core.errors import SddError
from sdd_core.experiment.outside import make_outside
from sdd_core.exports.check import check
from sdd_core.exports.choose import choose_level
from sdd_core.exports.data import TestSet, load_test_set
from sdd_core.exports.load import load_run
from sdd_core.exports.source import exportable
from sdd_core.files.atomic import new_entries, refuse_existing
from sdd_core.level.result import LevelResult
from sdd_core.output.notices import lenient
from sdd_core.plugin.base import noun
from sdd_core.plugin.discovery import Plugins, load_plugins
from sdd_core.plugin.isolation import Guard
from sdd_core.plugin.kinds import Exporter, label
from sdd_core.plugin.kinds.exporter import Exportable
from sdd_core.runs.record import read_record
from sdd_core.runs.result import Result

FOLDER_RECORD = "export.json"
"""The record in an artefact that is a folder; that of a file `NAME` is `NAME.json`, beside it."""


@dataclass(frozen=True)
class Exported:
    """An artefact that was written and checked.

    path: the file or folder. record: what stands in its record, in JSON: `format`, `options`,
    `bytes`, `facts` of the format, `checked` (see `sdd_core.exports.check.Checked`),
    `run_test_accuracy`, `notes`, and the `description` of the level.
    """

    path: Path
    record: Mapping[str, Any]

    def __repr__(self) -> str:
        return (f"<Exported {self.path}: {self.record['format']}, {self.record['bytes']:,} bytes, "
                f"level {self.record['description']['level']}>")


def export(
    run: Result | Path | str,
    *,
    format: Exporter | Mapping[str, Any] | str = "state-dict",
    level: int | str = "recommended",
    output: Path | str | None = None,
    data: bool = True,
    data_root: Path | str | None = None,
    model: nn.Module | Callable[..., nn.Module] | None = None,
    trust: bool = False,
    plugins: Plugins | None = None,
) -> Exported:
    """Write the network of one level of a run, load what was written, and compare its logits with
    those of the network: on random inputs and, if the data are here, on the whole test set.

        export("runs/digits-mlp-imp-rewind-seed0-5a7c826a", level="95%")

    Args:
        run: a result, or the folder of a run.
        format: an export format, its name, or a table of its name and options.
        level: the level's number, `recommended`, `best` (by test accuracy), or a sparsity such as
            `95%`, which means the nearest level (see `Result.at`).
        output: the file or folder to write, which must not exist. Default: in the folder `exports`
            of the run's folder.
        data: whether to load the data, which are downloaded if `sdd_core.run` would do so.
        data_root: folder of data sets.
        model, trust: as for `load_run`, if `run` is a folder.

    Raises:
        SddError: there is no such level, it diverged, its network cannot be made, the format cannot
            hold it, or the logits differ beyond rounding. Nothing is left behind.
    """
    plugins = plugins or load_plugins()
    exporter = make_outside("exporter", format, plugins)
    result = run if isinstance(run, Result) else load_run(run, model=model, trust=trust,
                                                          plugins=plugins)
    chosen = choose_level(result, level)
    name = f"level-{chosen.level:02d}-{exporter.name}{exporter.suffix}"
    path = Path(output) if output is not None else result.folder / "exports" / name
    names = [path.name, *([f"{path.name}.json"] if exporter.suffix else [])]
    for one in names:
        refuse_existing(path.with_name(one))
    root = None if data_root is None else Path(data_root)
    test = _test_set(result, root, trust) if data else "the data were not asked for"
    with new_entries(path.parent, names) as folder:
        record = _written(exporter, result, chosen, folder / path.name, test)
        place = folder / names[1] if exporter.suffix else folder / path.name / FOLDER_RECORD
        place.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return Exported(path, record)


def _test_set(result: Result, root: Path | None, trust: bool) -> TestSet | str:
    """Return the test set, or the reason if the data are not here."""
    try:
        return load_test_set(result, read_record(result.folder), root, trust)
    except SddError as error:
        return str(error)


def _written(
    exporter: Exporter, result: Result, level: LevelResult, path: Path, test: TestSet | str
) -> dict[str, Any]:
    """Write an artefact and check it. Return its record."""
    network = level.network()  # not the one that the exporter gets, which it might change
    source = exportable(result, level, read_record(result.folder), test)
    guard = Guard(result.experiment.seed).isolated(exporter, "export")
    # Standard output is for results only.
    with guard, redirect_stdout(lenient(sys.stderr)), torch.no_grad():
        facts = json.dumps(dict(exporter.write(source, path)), allow_nan=False)
        if path.is_dir() != (exporter.suffix == "") or not path.exists():
            raise SddError(f"{noun(exporter)} {exporter.name!r} wrote no "
                           f"{'file' if exporter.suffix else 'folder'}")
        checked = check(exporter, network, source, path, test)
    return {
        "format": label(exporter),
        "options": exporter.model_dump(mode="json"),
        "bytes": _size(path),
        "facts": json.loads(facts),
        "checked": vars(checked),
        "run_test_accuracy": level.metrics.get("test_accuracy"),
        "notes": _notes(level, source),
        "description": dict(source.description),
    }


def _notes(level: LevelResult, source: Exportable) -> list[str]:
    """Return what a user has to know about the network."""
    pruned = sum(int((~mask).sum()) for mask in level.masks.values())
    zero = sum(int((~mask).sum()) for mask in source.masks.values())
    if pruned == zero:
        return []
    return [f"{pruned - zero:,} of {pruned:,} pruned weights are not zero, because the retraining "
            "schedule holds them at other values or an ablation trained them again"]


def _size(path: Path) -> int:
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)

"""The test set of a run, where the data are on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from sdd_core.data.dataset import Dataset
from sdd_core.data.resident import normalise
from sdd_core.errors import SddError
from sdd_core.experiment.build import load_data
from sdd_core.experiment.import_path import Imported
from sdd_core.level.evaluation import evaluation_batches
from sdd_core.plugin.isolation import Guard
from sdd_core.runs.imported import strange_sources
from sdd_core.runs.record import Record
from sdd_core.runs.result import Result


@dataclass(frozen=True)
class TestSet:
    """The test set of a run."""

    __test__ = False  # not a test of pytest

    data: Dataset

    def __len__(self) -> int:
        return len(self.data.test)

    def batches(self) -> Iterator[Tensor]:
        """Yield the normalised inputs, float32 `[N, ...]`, in batches."""
        for rows in evaluation_batches(self.data.test.images):
            yield self.inputs(rows)

    def inputs(self, rows: slice) -> Tensor:
        """Return some normalised inputs."""
        return normalise(self.data.test.images[rows], self.data)

    def accuracy(self, classes: Tensor) -> float:
        """Return the fraction of predicted classes `[N]` that are right."""
        return float((classes == self.data.test.labels).double().mean())


def load_test_set(result: Result, record: Record, root: Path | None, trust: bool) -> TestSet:
    """Return the test set of a run. root, trust: as for `sdd_core.export`. Raises SddError if the
    data are not on this machine, or are others."""
    source = result.experiment.data
    if isinstance(source, Imported) and trust:
        source = source.current()
    elif strange := strange_sources(source, record):
        raise SddError(f"module {strange[0]}")
    data, sizes = load_data(source, root, Guard(result.experiment.seed)), record.data
    here = len(data.test), list(data.input_shape)
    there = sizes.test_examples, record.inputs and record.inputs.shape
    if here != there or data.num_classes != sizes.classes:
        raise SddError(f"data {data.name!r} are not those of the run: {here[0]:,} test examples of "
                       f"shape {here[1]} here, {there[0]:,} of shape {there[1]} there")
    return TestSet(data)

"""Load an artefact again and compare it with the network that it was made from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from sdd_core.errors import FAILURES, SddError
from sdd_core.exports.compare import BATCH_SIZES, check_equal, random_batches
from sdd_core.exports.data import TestSet
from sdd_core.plugin.base import noun
from sdd_core.plugin.kinds.exporter import Exportable, Exporter


@dataclass(frozen=True)
class Checked:
    """The comparison of an artefact with the network, after it was loaded.

    difference: the largest difference of logits, relative to the largest absolute logit of the
    batch or 1. test_examples: the size of the test set, 0 if the data were not there.
    test_accuracy: that of the artefact. not_tested: why the test set was not used.
    """

    difference: float
    test_examples: int = 0
    test_accuracy: float | None = None
    not_tested: str = ""


def check(
    exporter: Exporter, network: nn.Module, source: Exportable, path: Path, test: TestSet | str
) -> Checked:
    """Compare the artefact at `path` with the network, on small batches of random inputs and on the
    whole test set.

    test: the test set, or the reason why it is not there. Raises SddError if logits differ.
    """
    artefact, tolerance = exporter.load(path, source), exporter.tolerance
    few = _few_inputs(network, tuple(source.example.shape[1:]), test)
    try:
        worst, _ = check_equal(network, artefact, few, tolerance)
        if isinstance(test, str):
            return Checked(worst, not_tested=test)
        tested, classes = check_equal(network, artefact, test.batches(), tolerance)
    except SddError as error:
        raise SddError(f"{noun(exporter)} {exporter.name!r} does not compute what the network "
                       f"computes ({error}); nothing was written") from None
    return Checked(max(worst, tested), len(test), test.accuracy(torch.cat(classes)))


def _few_inputs(
    network: nn.Module, shape: tuple[int, ...], test: TestSet | str
) -> Iterable[Tensor]:
    """Return random inputs in small batches; test examples if the network cannot compute them, as
    one that looks up words by their numbers. Raises SddError without either."""
    batches = list(random_batches(shape))
    try:
        for batch in batches:
            network(batch)
    except FAILURES:
        if isinstance(test, str):
            raise SddError("the network cannot be compared, because it accepts no random inputs "
                           f"and the test set is not here ({test})") from None
        return [test.inputs(slice(size)) for size in BATCH_SIZES]
    return batches

"""The kit finds the fault in each faulty optimizer, schedule, scope, curve, tracker and format."""

from __future__ import annotations

import pytest

from sdd_core.plugin.base import noun
from sdd_core.testing import Fault, check, check_exporter, check_tracker

from . import faulty_parts as faulty

FAULTS = {
    faulty.NormGradient: "moves a weight depending on the others",
    faulty.OwnRate: "moves weights with a learning rate of 0",
    faulty.Forgets: "takes other steps after a checkpoint",
    faulty.Collects: "cannot be resumed from a checkpoint: its state has 'sizes' of type list",
    faulty.Half: "returned an optimizer of other weights; expected one of the tensor `weights`",
    faulty.ForgetsLayerwise: "takes other steps after a checkpoint",
    faulty.MatricesOnly: "make_named() returned optimizers with the parameter 'first.bias' 0 times",
    faulty.FixedLayerRates: "moves weights with a learning rate of 0",
    faulty.OneShort: "returned factors of shape [0]; expected [1]",
    faulty.Negative: "returned the factor -0.1",
    faulty.Nothing: "factors() are all 0",
    faulty.ForgetsLayers: "does not put each layer into one group",
    faulty.TakesTooMany: "prunes 249 weights of conv; expected 0 to 108",
    faulty.WithinRows: "has within='row'; expected 'output', 'input' or None",
    faulty.WithinOutputsOfAll: "puts conv, wide, narrow, last together",
    faulty.Stops: "prunes 494 of 498 weights; expected 498",
    faulty.Back: "gives 0.5 at level 2 after 0.6",
    faulty.Whole: "gives 1.0 at level 4",
    faulty.NeedsFigure: "end() raised TypeError",
    faulty.HereIAm: "writes 'tracked.txt' into the current folder",
    faulty.Meddles: "changes the metrics of a run",
    faulty.DrawsName: "changes torch's random state",
    faulty.OnlyOnce: "start() raised RuntimeError: has a run already",
    faulty.WritesHalf: "load() raised RuntimeError",
    faulty.WritesNothing: "write() writes no file at its path",
    faulty.WritesElsewhere: "writes 'notes.txt'; write to `path` only",
    faulty.WritesHere: "writes 'log.txt'; write to `path` only",
    faulty.RoundsWeights: "its logits differ from the network's by",
    faulty.FixesBatch: "it returns [2, 4] instead of logits [1, 4]",
    faulty.Unties: "exports a module with frozen and tied weights wrong",
    faulty.ChangesNetwork: "write() changes the network or its masks",
    faulty.Tensors: "expected a mapping that JSON can hold",
}


@pytest.mark.parametrize(("plugin", "what"), FAULTS.items(), ids=lambda one: getattr(
    one, "name", ""))
def test_the_fault_is_found_and_named_in_one_line(plugin, what, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Fault) as caught:
        check(plugin)
    message = str(caught.value)
    assert what in message
    assert message.startswith(f"{noun(plugin)} {plugin.name!r}: ")
    assert "\n" not in message


def test_what_has_no_fault_passes():
    check_tracker(faulty.Silent)
    check_exporter(faulty.Archive)

"""What the real TensorBoard reads out of the files of a run."""

from html import unescape

import pytest
from support import small
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import sdd_core
from sdd_core import load_plugins
from sdd_core.testing import check_tracker
from sdd_plugins.trackers.tensorboard import _shown


@pytest.mark.parametrize("folder", [None, "logs"])
def test_settings_curves_and_the_figure(tmp_path, monkeypatch, folder):
    monkeypatch.chdir(tmp_path)
    result = sdd_core.run(
        small(), store="store", device="cpu",
        trackers=[f"tensorboard:{folder}" if folder else "tensorboard"],
    )
    events = EventAccumulator(f"{folder or 'store/tensorboard'}/{result.run}")
    events.Reload()

    def curve(name):
        return {event.step: event.value for event in events.Scalars(name)}

    assert curve("level/test_accuracy") == pytest.approx(
        dict(enumerate(result.curve("test_accuracy"))), abs=1e-6
    )
    for level in result.levels:
        assert curve(f"level {level.level:02d}/test_loss") == pytest.approx(
            {epoch["number"]: epoch["test_loss"] for epoch in level.epochs}, rel=1e-5
        )
    assert [image.step for image in events.Images("figure")] == [0]
    text = events.Tensors("settings/text_summary")[0].tensor_proto.string_val[0].decode()
    assert "| train.epochs | 3 |" in text


def test_settings_are_shown_as_what_they_are():
    # TensorBoard takes them as Markdown.
    text = "a|b <script>x</script> *c* [d](e) `f` _g_ &amp; $h$"
    assert unescape(_shown(text)) == text
    assert not set(_shown(text)) & set("|<>*[]`$")
    assert _shown("train.weight_decay") == "train.weight_decay"
    assert _shown("-0.5, 1e-05") == "-0.5, 1e-05"


def test_each_run_of_a_sweep(tmp_path):
    results = sdd_core.sweep(
        small(seed=[0, 1]), store=tmp_path / "store", device="cpu", workers=2,
        trackers="tensorboard",
    )
    for result in results:
        events = EventAccumulator(str(tmp_path / "store" / "tensorboard" / result.run))
        events.Reload()
        values = [event.value for event in events.Scalars("level/test_accuracy")]
        assert values == pytest.approx(result.curve("test_accuracy"), abs=1e-6)


def test_it_keeps_the_contract():
    check_tracker(load_plugins().get("tracker", "tensorboard"))

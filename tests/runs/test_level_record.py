"""A level says what trained it: which kernels, and which instructions of the processor."""

import json

import pytest
import torch
from support import go, small

from sdd_core.errors import SddError
from sdd_core.level.level import Level
from sdd_core.runs.level_files import read_level, write_level
from sdd_core.runs.level_record import LevelRecord, read_level_record, trained_with
from sdd_core.runs.stored_runs import overview

KEY = "a" * 40


@pytest.fixture
def level():
    mask = torch.tensor([True, False])
    return Level(3, {"w": mask}, {"w": torch.tensor([1.0, 0.0])}, (), False, ("sparse",),
                 instructions="avx2")


def test_instructions_are_stored_and_read_again(tmp_path, level):
    write_level(tmp_path, KEY, level)
    assert read_level(tmp_path, KEY).instructions == "avx2"
    assert json.loads((tmp_path / "level.json").read_text())["instructions"] == "avx2"


def test_a_level_from_before_they_were_recorded_can_be_read(tmp_path, level):
    write_level(tmp_path, KEY, level)
    record = json.loads((tmp_path / "level.json").read_text())
    del record["instructions"]
    (tmp_path / "level.json").write_text(json.dumps(record))
    assert read_level(tmp_path, KEY).instructions == ""
    assert trained_with([read_level_record(tmp_path)]) == "sparse 3"


def test_a_run_records_what_trained_each_level(tmp_path):
    for kernels in ("auto", "none"):
        run = go(small(levels=1, kernels=kernels, model={"name": "mlp", "widths": [64]}),
                 tmp_path)
        first, second = overview(run.folder).trained
        assert first.instructions
        if kernels == "none":
            assert first.instructions == torch.backends.cpu.get_cpu_capability().lower()
            assert (first.kernels, second.kernels) == ([], [])
        else:
            assert len(second.kernels) == 2


def test_a_damaged_record_hides_only_itself(tmp_path):
    run = go(small(levels=1), tmp_path)
    file = run.folder / "levels" / "00" / "level.json"
    file.unlink()
    file.write_text("{")
    found = overview(run.folder)
    assert [one is None for one in found.trained] == [True, False]
    assert found.levels == 2
    with pytest.raises(SddError):
        read_level(file.parent)


def record(level, kernels, instructions="avx2"):
    return LevelRecord(key=KEY, level=level, diverged=False, kernels=kernels,
                       instructions=instructions)


@pytest.mark.parametrize(("records", "text"), [
    ([], ""),
    ([None], ""),
    ([record(0, [])], "general 0; avx2"),
    ([record(0, []), record(1, ["sparse", "sparse"]), record(2, ["sparse"])],
     "general 0, sparse 1-2; avx2"),
    ([record(0, ["dense"], "avx512"), None, record(2, ["sparse", "dense"]),
      record(3, ["dense", "sparse"])], "dense 0, dense+sparse 2-3; avx512, avx2"),
    ([record(0, []), record(1, ["a=sparse", "b=dense"]), record(2, ["a=sparse", "b=sparse"]),
      record(3, ["a=dense", "b=undecided"])], "general 0, general+sparse 1-2, general 3; avx2"),
    ([record(0, ["sparse"], ""), None, record(2, ["sparse"], "")], "sparse 0, sparse 2"),
])
def test_levels_alike_are_named_together(records, text):
    assert trained_with(records) == text

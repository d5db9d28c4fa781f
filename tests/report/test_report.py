import pytest
from results import descent

from sdd_core import SddError
from sdd_core.report import write_report
from sdd_core.runs.table import csv_table


def test_a_report_is_written_twice_with_the_same_bytes(tmp_path):
    first = write_report(descent(), tmp_path / "first")
    again = write_report(descent(), tmp_path / "again")
    assert {file.name for file in first} >= {"levels.csv", "figure.png", "figure.svg"}
    assert [file.name for file in again] == [file.name for file in first]
    for one, other in zip(first, again, strict=True):
        assert one.read_bytes() == other.read_bytes()
    assert (tmp_path / "first" / "levels.csv").read_text() == csv_table(descent())


def test_a_report_that_cannot_be_written_is_told_in_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SddError, match=r"cannot write .*file") as error:
        write_report(descent(), tmp_path / "file" / "report")
    assert "\n" not in str(error.value)

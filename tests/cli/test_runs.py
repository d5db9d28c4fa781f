import csv
import json


def test_runs_lists_what_is_in_the_store(sdd, finished):
    rows = json.loads(sdd("runs", "--store", finished, "--json").stdout)
    assert [(row["levels"], row["of"]) for row in rows] == [(2, 2)]
    assert rows[0]["verdict"].startswith("nothing can be said on double descent: ")
    assert [one["level"] for one in rows[0]["trained"]] == [0, 1]
    assert all(one["instructions"] for one in rows[0]["trained"])
    text = sdd("runs", "--store", finished).stdout
    assert rows[0]["run"] in text
    assert f"; {rows[0]['trained'][0]['instructions']} " in text
    assert "2/2" in text


def test_the_store_may_come_from_the_environment(sdd, finished, monkeypatch):
    monkeypatch.setenv("SDD_STORE", str(finished))
    assert len(json.loads(sdd("runs", "--json").stdout)) == 1


def test_an_empty_store_is_no_error(sdd):
    assert json.loads(sdd("runs", "--json").stdout) == []
    assert sdd("runs").stdout == "no runs in runs; `sdd run` starts one\n"


def test_report_names_the_phases_and_writes_its_files(sdd, finished, tmp_path):
    done = sdd("report", "digits", "--store", finished, "--output", tmp_path / "out")
    assert done.exit_code == 0, done.output
    for words in ("level", "recommended: ", "nothing can be said on double descent: "):
        assert words in done.stdout
    for name in ("figure.png", "figure.svg"):
        assert (tmp_path / "out" / name).stat().st_size > 0
    rows = list(csv.DictReader((tmp_path / "out" / "levels.csv").open()))
    printed = json.loads(sdd("report", "digits", "--store", finished, "--json",
                             "--output", tmp_path / "again").stdout)
    assert [float(row["test_accuracy"]) for row in rows] == [
        level["metrics"]["test_accuracy"] for level in printed["levels"]
    ]

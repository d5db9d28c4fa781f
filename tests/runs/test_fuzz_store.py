"""Whatever becomes of a file of a store, every view shows the right numbers or names the bad run,
and a run that goes on ends as it would have, or says in one line why not.

The long version of the test, for minutes: `pytest -n 0 -m long tests/runs/test_fuzz_store.py`.
"""

import json
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import contents, go, small

import sdd_core
from sdd_core import SddError, load_plugins
from sdd_core.cli import main
from sdd_core.runs.open_run import open_run
from sdd_core.runs.store import Store
from sdd_core.sparse.costs import KernelCosts

SEEDS = (0, 1)
CONFIGURATION = small(levels=1, train={"epochs": 1}, model={"name": "mlp", "widths": [8]})

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner,
                                                                max_size=3),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A store with two runs, and what they show."""
    store = tmp_path_factory.mktemp("made") / "store"
    Store(store).save_kernel_costs(KernelCosts())
    for seed in SEEDS:
        go({**CONFIGURATION, "seed": seed}, store)
    return store


def copy(made, store):
    """A copy in which the runs have the store's levels as links, as they do."""
    shutil.copytree(made, store)
    for file in store.glob("[!.]*/levels/*/*"):
        key = json.loads((file.parent / "level.json").read_text())["key"]
        file.unlink()
        os.link(store / ".shared" / "levels" / key / file.name, file)


def harm(data, store):
    """Do something to one of a store's files; returns what, for the report of a failure."""
    files = sorted(path for path in store.rglob("*") if path.is_file())
    file = data.draw(st.sampled_from(files), label="file")
    content = file.read_bytes()
    kind = data.draw(st.sampled_from(
        ["flip", "flip", "flip", "cut", "empty", "swap", "json", "line", "twice", "bytes", "remove",
         "pipe", "folder", "another number"]), label="kind")
    if kind in {"remove", "pipe", "folder"}:
        file.unlink()
        if kind != "remove":
            {"pipe": os.mkfifo, "folder": os.mkdir}[kind](file)
        return
    position = data.draw(st.integers(0, max(len(content) - 1, 0)), label="position")
    if kind == "swap":
        other = data.draw(st.sampled_from([one for one in files if one.name == file.name]))
        (own, its) = (content, other.read_bytes())
        file.write_bytes(its)
        other.write_bytes(own)
        return
    if kind == "flip" and content:
        bit = 1 << data.draw(st.integers(0, 7), label="bit")
        content = content[:position] + bytes([content[position] ^ bit]) + content[position + 1:]
    elif kind == "another number":
        digits = [at for at, byte in enumerate(content) if chr(byte).isdigit()]
        if digits:
            at = data.draw(st.sampled_from(digits))
            digit = data.draw(st.sampled_from([b"0", b"5", b"9"]))
            content = content[:at] + digit + content[at + 1:]
    elif kind == "line":  # one is lost
        lines = content.splitlines(keepends=True)
        content = b"".join(lines[:1] + lines[2:]) if len(lines) > 1 else b""
    else:
        content = {
            "cut": content[:position],
            "empty": b"",
            "json": json.dumps(data.draw(json_values)).encode() if kind == "json" else b"",
            "twice": content * 2,
            "bytes": data.draw(st.binary(max_size=50)) if kind == "bytes" else b"",
        }.get(kind, content)
    file.write_bytes(content)


def sdd(*words):
    done = CliRunner().invoke(main, [str(word) for word in words])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exc_info
    return done


def assert_one_line(refused):
    assert "\n" not in str(refused)


def seen(store):
    """What each view shows of each run: its numbers, or None where it names the run as bad."""
    listed = sdd("runs", "--store", store, "--json")
    overview = {row["run"]: (row["levels"], row["of"], row["verdict"]) if row["levels"] else None
                for row in json.loads(listed.stdout)}
    assert listed.exit_code == (1 if None in overview.values() else 0)
    done = sdd("table", "--store", store)
    rows = sdd_core.table(store)
    views = [overview, {}, {}]
    for run in overview:
        own = [row for row in rows if row["run"] == run]
        if not own:
            assert f"run {run} is left out: " in done.stderr or "no run can be read" in done.stderr
            assert done.exit_code in {1, 2}
        # All runs have columns that one of them needs.
        views[1][run] = [{name: value for name, value in row.items() if value is not None}
                         for row in own] or None
        try:
            views[2][run] = open_run(store / run, load_plugins()).result().levels
        except SddError as error:
            assert_one_line(error)
            views[2][run] = None
    return views


def assert_right_or_named(found, expected):
    for one, right in zip(found, expected, strict=True):
        assert one.keys() == right.keys(), "a run has vanished"
        for run, shown in one.items():
            assert shown is None or shown == right[run]


def check(data, made):
    """Harm a store, look at it, go on with its runs, and look again."""
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "store"
        copy(made, store)
        expected, before = seen(store), contents(store)
        for _ in range(data.draw(st.integers(1, 2), label="harms")):
            harm(data, store)
        assert_right_or_named(seen(store), expected)
        for seed in SEEDS:
            try:
                run = go({**CONFIGURATION, "seed": seed}, store).folder
            except SddError as error:
                assert_one_line(error)
                continue
            after = contents(run)
            assert {f"{run.name}/{name}": after[name] for name in after} == {
                name: content for name, content in before.items() if name.startswith(run.name)
            }
        assert_right_or_named(seen(store), expected)


@pytest.mark.slow
@given(data=st.data())
@settings(max_examples=25, deadline=None, derandomize=True,
          suppress_health_check=list(HealthCheck))
def test_every_view_shows_the_right_numbers_or_names_the_bad_run(made, data):
    check(data, made)


@pytest.mark.long
@given(data=st.data())
@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_same_for_minutes(made, data):
    check(data, made)

"""Formats whose library is missing say in one line how to install it, before anything is done."""

import pytest
from click.testing import CliRunner
from support import go, small

import sdd_core
from sdd_core import SddError, install_hint
from sdd_core.cli import main
from sdd_core.experiment import outside

NEEDED = {"onnx": "onnxruntime", "hub": "huggingface_hub"}


@pytest.mark.parametrize("name", NEEDED)
def test_a_missing_library_is_one_line(name, tmp_path, monkeypatch):
    monkeypatch.setattr(outside, "find_spec", lambda package: None)
    result = go(small(levels=1), tmp_path / "store")
    expected = (f"export format '{name}' needs {NEEDED[name]}, which is not installed; "
                f"{install_hint(name)}")
    with pytest.raises(SddError) as refused:
        sdd_core.export(result, format=name)
    assert str(refused.value) == expected
    done = CliRunner().invoke(main, ["export", str(result.folder), "--format", name])
    assert (done.exit_code, done.stdout, done.stderr) == (2, "", f"Error: {expected}\n")
    assert not (result.folder / "exports").exists()


@pytest.mark.parametrize("name", ["torch-export", "state-dict"])
def test_other_formats_need_none(name, tmp_path, monkeypatch):
    monkeypatch.setattr(outside, "find_spec", lambda package: None)
    result = go(small(levels=1), tmp_path / "store")
    assert sdd_core.export(result, format=name, level=1).path.exists()

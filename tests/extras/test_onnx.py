"""What the real onnxruntime computes with ONNX files."""

import json
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from exported import IMAGES, NETWORKS, batches, exportable
from exports.cases import MODELS, run_of
from torch import nn

import sdd_core
from sdd_core import SddError, install_hint, load_plugins
from sdd_core.testing import check_exporter
from sdd_plugins.exporters import onnx as onnx_format


def exporter(**options):
    return load_plugins().make("exporter", {"name": "onnx", **options})


def written(network, path, **options):
    """The network as a file, and what it was exported from."""
    source = exportable(network)
    exporter(**options).write(source, path / "network.onnx")
    return source, path / "network.onnx"


@pytest.mark.parametrize("name", NETWORKS)
def test_equal_logits_of_batches_of_any_size(name, tmp_path):
    torch.manual_seed(0)
    source, file = written(NETWORKS[name](), tmp_path)
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    (inputs,), (outputs,) = session.get_inputs(), session.get_outputs()
    assert (inputs.name, inputs.shape) == ("input", ["batch", *IMAGES])
    assert inputs.type == outputs.type == "tensor(float)"
    assert (outputs.name, outputs.shape) == ("logits", ["batch", 10])
    loaded = exporter().load(file, source)
    for batch in batches():
        expected = source.network(batch).detach().numpy()
        (logits,) = session.run(None, {"input": batch.numpy()})
        assert np.abs(logits - expected).max() <= 1e-5 * max(1, np.abs(expected).max())
        assert np.array_equal(loaded(batch).numpy(), logits)


def test_one_file_that_says_what_it_is_and_nothing_of_the_machine(tmp_path):
    source, file = written(NETWORKS["resnet20"](), tmp_path)
    assert list(tmp_path.iterdir()) == [file]
    model = onnx.load(file)
    onnx.checker.check_model(model, full_check=True)
    said = {entry.key: entry.value for entry in model.metadata_props}
    assert said.keys() == source.description.keys()
    assert said["run"] == source.result.run
    for key in ("sparsity", "normalisation", "classes", "metrics"):
        assert json.loads(said[key]) == source.description[key]
    assert b"site-packages" not in file.read_bytes()
    assert not any(node.metadata_props for node in model.graph.node)


@pytest.mark.parametrize("name", MODELS)
def test_the_level_of_a_run_scores_what_it_scored_there(name, tmp_path):
    """`sdd_core.export` compares the logits on all test examples."""
    run = run_of(name, tmp_path)
    made = sdd_core.export(run, format="onnx", level=1, output=tmp_path / "network.onnx")
    assert made.record["checked"]["test_examples"] == len(run.experiment.data.load(None).test)
    assert made.record["checked"]["difference"] <= 1e-5
    assert made.record["checked"]["test_accuracy"] == pytest.approx(
        run.levels[1].metrics["test_accuracy"], abs=0.01)
    assert not list(tmp_path.glob("*.data"))


def test_a_compact_network_is_smaller_and_computes_the_same(tmp_path):
    network = NETWORKS["perceptron"]()
    with torch.no_grad():
        network.hidden1.weight[:8] = 0
    source, file = written(network, tmp_path, compact=True)
    stored = {one.name: tuple(one.dims) for one in onnx.load(file).graph.initializer}
    assert stored["hidden1.weight"] == (8, 192)
    for batch in batches():
        torch.testing.assert_close(exporter().load(file, source)(batch), source.network(batch),
                                   rtol=1e-5, atol=1e-5)


def test_pruned_weights_are_zero(tmp_path):
    source, file = written(NETWORKS["tied"](), tmp_path)
    (weight,) = (onnx.numpy_helper.to_array(one) for one in onnx.load(file).graph.initializer
                 if one.name == "inner.weight")
    inner = torch.from_numpy(weight.copy())
    assert torch.equal(inner != 0, source.masks["inner.weight"])


@pytest.mark.parametrize("opset", [18, 21])
def test_the_opset_is_an_option(opset, tmp_path):
    _, file = written(NETWORKS["perceptron"](), tmp_path, opset=opset)
    assert [(one.domain, one.version) for one in onnx.load(file).opset_import] == [("", opset)]


def test_an_opset_that_torch_cannot_write_is_one_line(tmp_path, capfd, caplog):
    message = "cannot write Sequential in opset 99; it can in opset 18"
    with pytest.raises(SddError, match=message) as refused:
        written(NETWORKS["perceptron"](), tmp_path, opset=99)
    assert "\n" not in str(refused.value)
    assert capfd.readouterr() == ("", "")
    assert not [record for record in caplog.records if record.levelname in {"WARNING", "ERROR"}]
    with pytest.raises(ValueError, match=r"opset\n.*greater than or equal to 18"):
        exporter(opset=9)


class Bessel(nn.Module):
    """A module with an operation that ONNX lacks."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(192, 10)

    def forward(self, images):
        return self.layer(torch.special.bessel_j0(images.flatten(1)))


def test_an_operation_that_onnx_lacks_is_named(tmp_path, capfd):
    with pytest.raises(SddError) as refused:
        written(Bessel(), tmp_path)
    assert str(refused.value) == (
        "ONNX has no equivalent of torch's prims.bessel_j0 in Bessel; write it with other "
        "operations, or export it as torch-export"
    )
    assert capfd.readouterr() == ("", "")
    assert not list(tmp_path.iterdir())


def test_nothing_is_printed(tmp_path, capfd):
    source, file = written(NETWORKS["tied"](), tmp_path)
    exporter().load(file, source)(batches()[0])
    assert capfd.readouterr() == ("", "")


def test_a_network_that_is_too_large_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_format, "LARGEST", 1000)
    with pytest.raises(SddError, match=r"at most 2 GB of weights.*torch-export or state-dict"):
        written(NETWORKS["perceptron"](), tmp_path)


@pytest.mark.parametrize("missing", ["onnx", "onnxscript"])
def test_a_missing_library_is_one_line(missing, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(SddError) as refused:
        written(NETWORKS["perceptron"](), tmp_path)
    assert str(refused.value) == (
        f"format 'onnx' needs {missing}, which is not installed; {install_hint('onnx')}"
    )
    assert not list(tmp_path.iterdir())


def test_it_keeps_the_contract():
    check_exporter(load_plugins().get("exporter", "onnx"))

"""A dense network that starts from a file of weights that another program wrote."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from support import go, small
from torch import Tensor, nn
from torch.nn.utils import prune

import sdd_core
from sdd_core import Experiment, SddError
from sdd_core.experiment.keys import dense_key
from sdd_core.experiment.train import Train
from sdd_core.training.pretrained import load_pretrained
from sdd_core.training.weight_names import match_names


class Net(nn.Module):
    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.fc = nn.Linear(4, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.norm(self.conv(x.reshape(len(x), 1, 8, 8))).mean((2, 3)))


class Inner(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = Net()


def trained(classes: int = 10) -> Net:
    torch.manual_seed(1)
    network = Net(classes)
    network.norm.running_mean.add_(0.5)
    return network


def load(path: Path | str, network: nn.Module | None = None) -> tuple[nn.Module, list[str]]:
    torch.manual_seed(2)
    network = network or Net()
    return network, load_pretrained(network, Train(pretrained=str(path)))


def check_equal(network: nn.Module, state: dict[str, Tensor]) -> None:
    found = network.state_dict()
    assert found.keys() == state.keys()
    for name in found:
        torch.testing.assert_close(found[name], state[name], rtol=0, atol=0)


def refused(path: Path, network: nn.Module | None = None) -> str:
    with pytest.raises(SddError) as error:
        load(path, network)
    said = str(error.value)
    assert said.startswith("train.pretrained: ")
    assert "\n" not in said
    return said.removeprefix("train.pretrained: ")


def test_a_state_dict_of_each_format(tmp_path):
    state = trained().state_dict()
    save_file(state, tmp_path / "a.safetensors")
    for name in ("a.pt", "a.pth", "a.pth.tar", "a.bin", "a.CKPT"):
        torch.save(state, tmp_path / name)
    torch.save(state, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    for file in tmp_path.iterdir():
        network, notes = load(file)
        check_equal(network, state)
        assert notes == []


@pytest.mark.parametrize(("checkpoint", "taken"), [
    (lambda s: {"state_dict": s, "epoch": 3, "optimizer": {"state": {0: {"m": s["fc.bias"]}}}},
     "state_dict"),
    (lambda s: {"epoch": 1, "model_state_dict": s}, "model_state_dict"),
    (lambda s: {"model": s, "optimizer": {}}, "model"),
    (lambda s: {"net": s, "acc": 0.9}, "net"),
    (lambda s: {"ema": s}, "ema"),
    (lambda s: {"state": {"model": s}, "lr": 1.0}, "state.model"),
    (lambda s: {"my_weights": s, "optimizer_state_dict": {"m": s["fc.bias"]}}, "my_weights"),
])  # fmt: skip
def test_a_checkpoint_says_what_was_taken(tmp_path, checkpoint, taken):
    state = trained().state_dict()
    file = tmp_path / "a.pt"
    torch.save(checkpoint(state), file)
    network, notes = load(file)
    check_equal(network, state)
    assert notes == [f"the weights are those in {taken!r} of {file}"]


def test_weights_go_before_their_average(tmp_path):
    state, average = trained().state_dict(), Net().state_dict()
    torch.save({"model_ema": average, "model": state}, tmp_path / "a.pt")
    network, notes = load(tmp_path / "a.pt")
    check_equal(network, state)
    assert notes[1] == f"'model_ema' in {tmp_path / 'a.pt'} are left out"


# Names


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.", "module._orig_mod.",
                                    "_orig_mod.module.model.", "classifier.inner."])
def test_prefixes_of_wrappers(tmp_path, prefix):
    state = trained().state_dict()
    file = tmp_path / "a.pt"
    torch.save({prefix + name: tensor for name, tensor in state.items()}, file)
    network, notes = load(file)
    check_equal(network, state)
    assert notes == [f"{prefix!r} was removed from the names in {file}"]


def test_real_wrappers(tmp_path):
    network = trained()
    for wrapped in (nn.DataParallel(network), torch.compile(network),
                    torch.compile(nn.DataParallel(network))):
        torch.save(wrapped.state_dict(), tmp_path / "a.pt")
        check_equal(load(tmp_path / "a.pt")[0], network.state_dict())


def test_a_wrapper_in_the_middle_and_one_of_the_network_itself(tmp_path):
    inner, wrapped = Inner(), Inner()
    inner.backbone = trained()
    wrapped.backbone = torch.compile(inner.backbone)
    torch.save(wrapped.state_dict(), tmp_path / "wrapped.pt")
    torch.save(inner.state_dict(), tmp_path / "inner.pt")
    torch.save(trained().state_dict(), tmp_path / "plain.pt")
    check_equal(load(tmp_path / "wrapped.pt", Inner())[0], inner.state_dict())
    for file in ("inner.pt", "plain.pt"):
        fresh = Inner()
        fresh.backbone = torch.compile(fresh.backbone)
        found, _ = load(tmp_path / file, fresh)
        check_equal(found, wrapped.state_dict())
    _, notes = load(tmp_path / "plain.pt", Inner())
    assert notes == [f"'backbone.' was added to the names in {tmp_path / 'plain.pt'}"]


def test_what_is_beside_the_network_is_left_out_and_named(tmp_path):
    state = trained().state_dict()
    file = tmp_path / "lightning.ckpt"
    content = {f"model.{name}": tensor for name, tensor in state.items()}
    torch.save({"state_dict": {**content, "loss.weight": torch.ones(10)}, "epoch": 1}, file)
    network, notes = load(file)
    check_equal(network, state)
    assert notes[-1] == f"loss.weight in {file} are left out, because they are not below 'model.'"


names = st.lists(
    st.lists(st.sampled_from(["module", "model", "a", "b", "_orig_mod", "net"]), min_size=1,
             max_size=4).map(".".join), min_size=1, max_size=5, unique=True)
prefixes = st.lists(st.sampled_from(["module.", "_orig_mod.", "model.", "net."]), max_size=3)


@given(names, prefixes)
def test_any_nesting_of_wrappers_is_removed(expected, wrappers):
    prefix = "".join(wrappers)
    matched = match_names([prefix + name for name in expected], expected)
    assert matched.renamed == {prefix + name: name for name in expected}
    assert matched.outside == []


@given(names, prefixes, st.data())
def test_a_subset_is_matched_too(expected, wrappers, data):
    """A file that lacks some names never gets the others under wrong names, if it fits as it is."""
    some = data.draw(st.lists(st.sampled_from(expected), min_size=1, unique=True))
    matched = match_names(some, expected)
    assert {*matched.renamed.values()} <= {*expected}
    assert len({*matched.renamed.values()}) == len(matched.renamed)


def test_an_unusual_prefix_of_some_names_is_not_removed():
    """`encoder.fc` is another layer than `fc` as long as the rest does not fit."""
    matched = match_names(["encoder.fc.weight", "body.weight"], ["conv.weight", "fc.weight"])
    assert (matched.removed, matched.outside) == ("", [])
    assert matched.renamed == {"encoder.fc.weight": "encoder.fc.weight",
                               "body.weight": "body.weight"}


def test_missing_and_unexpected_names_in_one_line(tmp_path):
    state = trained().state_dict()
    del state["conv.weight"], state["norm.num_batches_tracked"]
    state["conv2.weight"] = torch.zeros(1)
    torch.save(state, tmp_path / "a.pt")
    assert refused(tmp_path / "a.pt") == (
        f"{tmp_path / 'a.pt'} does not fit this experiment's network: missing: conv.weight; "
        "unexpected: conv2.weight; expected weights of the same model, of which only the last "
        "layer may differ")


def test_a_count_of_batches_may_be_missing(tmp_path):
    state = trained().state_dict()
    del state["norm.num_batches_tracked"]
    torch.save({f"x.{name}": tensor for name, tensor in state.items()}, tmp_path / "a.pt")
    network, _ = load(tmp_path / "a.pt")
    assert network.norm.num_batches_tracked == 0
    assert torch.equal(network.norm.running_mean, state["norm.running_mean"])


@pytest.mark.parametrize("absent", [False, True])
def test_the_last_layer_may_differ(tmp_path, absent):
    state = trained(7).state_dict()
    if absent:
        del state["fc.weight"], state["fc.bias"]
    torch.save(state, tmp_path / "a.pt")
    network, notes = load(tmp_path / "a.pt")
    assert torch.equal(network.conv.weight, state["conv.weight"])
    why = "they are missing there" if absent else "the shapes differ"
    assert notes == ["fc.weight, fc.bias of the last layer are initialised, not taken from "
                     f"{tmp_path / 'a.pt'}, because {why}"]


def test_a_tie_is_given_once(tmp_path):
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.last = nn.Linear(4, 4, bias=False), nn.Linear(4, 4)
            self.two = nn.Linear(4, 4, bias=False)
            self.two.weight = self.one.weight

    network = Tied()
    state = network.state_dict()
    del state["two.weight"]
    save_file(state, tmp_path / "a.safetensors")
    found, notes = load(tmp_path / "a.safetensors", Tied())
    assert torch.equal(found.two.weight, network.one.weight)
    assert notes == []


# Values


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_are_converted_and_named(tmp_path, dtype):
    state = trained().to(dtype).state_dict()
    save_file(state, tmp_path / "a.safetensors")
    network, notes = load(tmp_path / "a.safetensors")
    assert network.conv.weight.dtype == torch.float32
    assert torch.equal(network.conv.weight, state["conv.weight"].float())
    kind = str(dtype).removeprefix("torch.")
    assert notes == [f"the numbers in {tmp_path / 'a.safetensors'} are converted from {kind} to "
                     "float32"]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite(tmp_path, value):
    state = trained().state_dict()
    state["norm.running_var"][2] = value
    torch.save(state, tmp_path / "a.pt")
    assert refused(tmp_path / "a.pt").startswith("norm.running_var in ")


def test_numbers_too_large_and_tensors_of_another_kind(tmp_path):
    state = trained().double().state_dict()
    state["fc.bias"][0] = 1e300
    torch.save(state, tmp_path / "a.pt")
    assert "numbers too large for torch.float32" in refused(tmp_path / "a.pt")
    state["fc.bias"] = torch.zeros(10, dtype=torch.int8)
    torch.save(state, tmp_path / "a.pt")
    assert "fc.bias" in refused(tmp_path / "a.pt")
    state["fc.bias"] = torch.zeros(10).to_sparse()
    torch.save(state, tmp_path / "a.pt")
    assert "is torch.sparse_coo; expected a dense tensor" in refused(tmp_path / "a.pt")


def test_masks_of_torch_prune_become_zeros(tmp_path):
    network = trained()
    prune.l1_unstructured(network.conv, "weight", 0.5)
    prune.random_unstructured(network.fc, "weight", 0.25)
    file = tmp_path / "a.pt"
    torch.save(network.state_dict(), file)
    found, notes = load(file)
    assert torch.equal(found.conv.weight, network.conv.weight)
    assert int((found.conv.weight == 0).sum()) == 18
    assert notes == [f"conv.weight, fc.weight in {file} came with masks of torch.nn.utils.prune; "
                     "what they prune is zero"]


# Files that are refused, in one line


def marker(path: str) -> None:
    Path(path).write_text("executed")


class Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return marker, (str(self.path),)


def test_code_is_never_executed(tmp_path):
    torch.save({"state_dict": trained().state_dict(), "x": Evil(tmp_path / "mark")},
               tmp_path / "a.pt")
    said = refused(tmp_path / "a.pt")
    assert "needs code to be read" in said
    assert "marker" in said
    assert not (tmp_path / "mark").exists()
    torch.save(trained(), tmp_path / "a.pt")
    said = refused(tmp_path / "a.pt")
    assert "Net), which is not executed" in said
    assert "torch.save(model.state_dict(), file)" in said


def test_a_torchscript_program(tmp_path):
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), tmp_path / "a.pt")
    assert "is a TorchScript program, which is code" in refused(tmp_path / "a.pt")


def test_files_that_are_cut_off(tmp_path):
    state = trained().state_dict()
    torch.save(state, tmp_path / "a.pt")
    torch.save(state, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    save_file(state, tmp_path / "a.safetensors")
    for file in sorted(tmp_path.iterdir()):
        content = file.read_bytes()
        for length in (0, 1, 9, 150, len(content) // 2, len(content) - 1):
            file.write_bytes(content[:length])
            said = refused(file)
            assert "damaged, cut off" in said or "cannot be read" in said, (file.name, length, said)


def test_files_that_are_not_what_their_names_say(tmp_path):
    state = trained().state_dict()
    save_file(state, tmp_path / "a.pt")
    assert "looks like safetensors, so name it .safetensors" in refused(tmp_path / "a.pt")
    torch.save(state, tmp_path / "a.safetensors")
    assert "looks like a file of torch.save" in refused(tmp_path / "a.safetensors")
    (tmp_path / "text.pt").write_text("hello\n" * 50)
    assert "not a file of torch.save" in refused(tmp_path / "text.pt")
    (tmp_path / "a.onnx").write_bytes(b"0")
    assert "ends with '.onnx'; expected the folder of a run, or" in refused(tmp_path / "a.onnx")
    assert "there is no file" in refused(tmp_path / "none.pt")
    os.mkfifo(tmp_path / "pipe.pt")
    assert "is not a regular file" in refused(tmp_path / "pipe.pt")


@pytest.mark.parametrize(("content", "said"), [
    ({"epoch": 3}, "it holds epoch; expected a state_dict"),
    ([torch.zeros(3)], "holds list; expected the state_dict"),
    (torch.zeros(3), "holds Tensor; expected"),
    ({}, "it holds nothing"),
    ({"a": {"x": torch.zeros(1)}, "b": {"x": torch.zeros(1)}}, "it holds a, b; expected"),
])  # fmt: skip
def test_files_without_weights(tmp_path, content, said):
    torch.save(content, tmp_path / "a.pt")
    assert said in refused(tmp_path / "a.pt")


def test_a_file_that_is_too_large(tmp_path):
    for name in ("a.pt", "a.safetensors"):
        with (tmp_path / name).open("wb") as file:
            file.truncate(2**36 + 1)
        with pytest.raises(SddError, match="expected at most 68,719,476,736; it was left"):
            Experiment.make({"train": {"pretrained": str(tmp_path / name)}})


# Experiments


def test_a_run_starts_from_a_file_and_its_key_from_the_content(tmp_path, capsys):
    state = {f"module.{name}": tensor for name, tensor in trained().state_dict().items()}
    torch.save(state, tmp_path / "a.pt")  # its own name is part of a file that torch.save writes
    shutil.copyfile(tmp_path / "a.pt", tmp_path / "b.pt")
    settings = small(levels=0, metrics=["learning_distance"], data="digits", noise="none")
    run = go({**settings, "model": Net, "train": {"epochs": 1, "pretrained": tmp_path / "a.pt"}},
             tmp_path / "store")
    assert "'module.' was removed from the names in" in capsys.readouterr().err
    assert len(run.experiment.train.pretrained_checksum or "") == 64
    keys = {dense_key(Experiment.make({"train": train})) for train in (
        {"pretrained": tmp_path / "a.pt"}, {"pretrained": tmp_path / "b.pt"})}
    assert len(keys) == 1
    torch.save(trained(3).state_dict(), tmp_path / "b.pt")
    keys.add(dense_key(Experiment.make({"train": {"pretrained": tmp_path / "b.pt"}})))
    assert len(keys) == 2
    record = run.experiment.train.model_dump()
    torch.save(trained(3).state_dict(), tmp_path / "a.pt")
    with pytest.raises(SddError, match="is not the file that the experiment began with"):
        sdd_core.run({**settings, "model": Net, "train": record}, store=tmp_path / "other")

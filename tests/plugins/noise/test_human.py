"""Labels out of files, whole and damaged."""

from __future__ import annotations

import pickle
from itertools import pairwise

import numpy as np
import pytest
import torch
from support import go, small

from sdd_core import Dataset, Experiment, SddError, Split
from sdd_core.experiment.keys import dense_key
from sdd_plugins.data.digits import Digits
from sdd_plugins.noise.human import Human

TRUE = torch.tensor([0, 1, 2, 3, 0, 1, 2, 3])
GIVEN = [0, 1, 2, 3, 0, 2, 1, 0]


def corrupt(noise: Human, seed: int = 0, classes: int = 4) -> list[int]:
    split = Split(torch.zeros(8, 1), TRUE)
    data = Dataset("by hand", split, split, classes)
    draw = torch.Generator().manual_seed(seed)
    before = TRUE.clone()
    noisy = noise.corrupt(TRUE, data, draw)
    assert torch.equal(TRUE, before)
    assert noisy.dtype == torch.int64
    return noisy.tolist()


def written(tmp_path, name: str) -> str:
    path = tmp_path / name
    if path.suffix == ".npy":
        np.save(path, np.array(GIVEN, dtype=np.uint8))
    elif path.suffix == ".txt":
        path.write_text("\n".join(map(str, GIVEN)) + "\n")
    else:
        rows = [f"{label},{9 - label}" for label in GIVEN]
        path.write_text("\n".join(["worse_label,other", *rows]) + "\n")
    return str(path)


@pytest.mark.parametrize(
    ("name", "options"),
    [("a.npy", {}), ("a.txt", {}), ("a.csv", {"column": "worse_label"})],
)
def test_the_labels_are_those_of_the_file(tmp_path, name, options):
    assert corrupt(Human(file=written(tmp_path, name), **options)) == GIVEN


def test_a_csv_file_with_one_column_needs_no_name(tmp_path):
    (tmp_path / "a.csv").write_text("label\n" + "\n".join(map(str, GIVEN)))
    assert corrupt(Human(file=str(tmp_path / "a.csv"))) == GIVEN


def test_a_rate_takes_so_many_of_them_and_a_higher_one_keeps_those(tmp_path):
    file = written(tmp_path, "a.npy")
    wrong = []
    for rate in (0.0, 0.25, 0.5, 0.75, 1.0):
        noisy = corrupt(Human(file=file, rate=rate))
        assert all(n in {t, g} for n, t, g in zip(noisy, TRUE.tolist(), GIVEN, strict=True))
        wrong.append({i for i, (n, t) in enumerate(zip(noisy, TRUE.tolist(), strict=True))
                      if n != t})  # fmt: skip
    assert wrong[0] == set()
    assert wrong[-1] == {5, 6, 7}
    assert all(fewer <= more for fewer, more in pairwise(wrong))
    assert len({tuple(corrupt(Human(file=file, rate=0.5), seed)) for seed in range(20)}) > 1


def save(tmp_path, array, name="a.npy") -> str:
    np.save(tmp_path / name, np.array(array), allow_pickle=False)
    return str(tmp_path / name)


BAD = {
    "seven labels": (lambda p: save(p, GIVEN[:7]), "has 7 labels, but 'by hand' has 8"),
    "a class too many": (lambda p: save(p, [*GIVEN[:7], 4]), "labels from 0 to 4; .* 0 to 3"),
    "a class too few": (lambda p: save(p, [*GIVEN[:7], -1]), "labels from -1 to 3"),
    "another order": (lambda p: save(p, sorted(GIVEN, reverse=True)), "agrees with only .* order"),
    "fractions": (lambda p: save(p, [0.5] * 8), r"float64 of shape \[8\]; expected one integer"),
    "a table": (lambda p: save(p, [GIVEN, GIVEN]), r"int64 of shape \[2, 8\]"),
    "none": (lambda p: save(p, np.zeros(0, np.int64)), r"int64 of shape \[0\]"),
    "no file": (lambda p: str(p / "a.npy"), "cannot read .*No such file"),
    "another format": (lambda p: str(p / "CIFAR-10_human.pt"), "pickles .* `sdd show human`"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_does_not_fit_is_refused_in_one_line(tmp_path, case):
    make, message = BAD[case]
    with pytest.raises(SddError, match=message) as error:
        corrupt(Human(file=make(tmp_path)))
    assert "\n" not in str(error.value)
    assert str(error.value).startswith("noise.file: ")


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("a,b\n1,2\n", {}, "has several columns; choose one of a, b"),
        ("a,b\n1,2\n", {"column": "c"}, "has no column 'c'; choose one of a, b"),
        ("a,b\n1,x\n", {"column": "b"}, "cannot read .*'x'"),
        ("a,b\n1\n", {"column": "b"}, "cannot read"),
        ("", {}, "has several columns|has no column"),
    ],
)
def test_a_damaged_table_is_refused(tmp_path, text, options, message):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(SddError, match=message):
        corrupt(Human(file=str(tmp_path / "a.csv"), **options))


class Bomb:
    """Writes a file when it is read from a pickle."""

    def __init__(self, path) -> None:
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_a_pickle_is_never_read(tmp_path):
    bomb = np.array([Bomb(tmp_path / "harm")], dtype=object)
    np.save(tmp_path / "a.npy", bomb, allow_pickle=True)
    (tmp_path / "b.npy").write_bytes(pickle.dumps(Bomb(tmp_path / "harm")))
    for name in ("a.npy", "b.npy"):
        with pytest.raises(SddError, match="cannot read"):
            corrupt(Human(file=str(tmp_path / name)))
    assert not (tmp_path / "harm").exists()


def test_another_file_in_its_place_is_another_experiment(tmp_path):
    file = written(tmp_path, "a.npy")

    def made(**options):
        return Experiment.make({"noise": {"name": "human", "file": file, **options}})

    first = made()
    assert dense_key(first) == dense_key(made())
    assert Experiment.make(first.to_dict()) == first
    np.save(file, np.array(GIVEN[::-1]))
    assert dense_key(made()) != dense_key(first)
    # The record of the first one says which file it was.
    assert isinstance(first.noise, Human)
    with pytest.raises(SddError, match="is not the file that the experiment began with"):
        corrupt(first.noise)


def test_in_a_run(tmp_path):
    labels = Digits().load(None).train.labels.clone()
    labels[:300] = (labels[:300] + 1) % 10
    np.save(tmp_path / "a.npy", labels.numpy())
    settings = small(noise={"name": "human", "file": str(tmp_path / "a.npy")}, levels=0)
    (dense,) = go(settings, tmp_path / "store").levels
    assert dense.metrics["train_accuracy_mislabelled"] is not None
    agreement = dense.metrics["train_accuracy"]
    clean, wrong = (dense.metrics[f"train_accuracy_{part}"] for part in ("clean", "mislabelled"))
    assert agreement == pytest.approx(0.7 * clean + 0.3 * wrong)

"""CIFAR's binary version, with files of a few images."""

import numpy as np
import pytest

from sdd_core import Augmentation, SddError
from sdd_core.testing import check_data
from sdd_plugins.data.cifar import IMAGE_BYTES, Cifar10, Cifar100, read_records

DRAW = np.random.default_rng(1)


def records(*labels: tuple[int, ...]) -> bytes:
    return b"".join(bytes(label) + DRAW.bytes(IMAGE_BYTES) for label in labels)


@pytest.fixture
def cifar10(tmp_path, monkeypatch):
    """Two training files of two images and a test file of one."""
    monkeypatch.setattr(Cifar10, "train_files", {"data_batch_1.bin": 2, "data_batch_2.bin": 2})
    monkeypatch.setattr(Cifar10, "test_files", {"test_batch.bin": 1})
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    (folder / "data_batch_1.bin").write_bytes(records((3,), (0,)))
    (folder / "data_batch_2.bin").write_bytes(records((9,), (1,)))
    (folder / "test_batch.bin").write_bytes(records((5,)))
    return folder


def test_cifar10_reads_labels_and_planes_of_red_green_and_blue(cifar10):
    data = Cifar10().load(cifar10.parent).check()
    assert data.train.labels.tolist() == [3, 0, 9, 1]
    assert data.test.labels.tolist() == [5]
    assert data.train.images.shape == (4, 3, 32, 32)
    assert data.num_classes == 10
    content = (cifar10 / "data_batch_2.bin").read_bytes()
    # The third image is the first of the second file; red comes first, then green, row by row.
    image = data.train.images[2]
    assert image[0, 0, 0] == content[1]
    assert image[0, 0, 31] == content[1 + 31]
    assert image[0, 1, 0] == content[1 + 32]
    assert image[1, 0, 0] == content[1 + 1024]
    assert image[2, 31, 31] == content[3072]
    assert data.augmentation == Augmentation(pad=4, flip=True)


def test_cifar10_keeps_the_contract(cifar10):
    check_data(Cifar10, cifar10.parent)


@pytest.fixture
def cifar100(tmp_path, monkeypatch):
    """Every class once; class c lies in superclass (7 c) % 20. The test file has two images."""
    monkeypatch.setattr(Cifar100, "train_files", {"train.bin": 100})
    monkeypatch.setattr(Cifar100, "test_files", {"test.bin": 2})
    folder = tmp_path / "cifar-100-binary"
    folder.mkdir()
    (folder / "train.bin").write_bytes(records(*((7 * c % 20, c) for c in range(100))))
    (folder / "test.bin").write_bytes(records((7, 1), (14, 42)))
    return folder


def test_cifar100_keeps_the_contract(cifar100):
    check_data(Cifar100, cifar100.parent)


def test_cifar100_takes_the_fine_label_and_learns_the_superclasses(cifar100):
    data = Cifar100().load(cifar100.parent).check()
    assert data.train.labels.tolist() == list(range(100))
    assert data.test.labels.tolist() == [1, 42]
    assert data.num_classes == 100
    assert data.superclasses == tuple(7 * c % 20 for c in range(100))
    assert data.train.images[0, 0, 0, 0] == (cifar100 / "train.bin").read_bytes()[2]


def test_cifar100_whose_superclasses_contradict_is_refused(cifar100):
    content = bytearray((cifar100 / "train.bin").read_bytes())
    content[2 + IMAGE_BYTES + 1] = 0  # now class 0 lies in superclass 0 and in 7, 1 in none
    (cifar100 / "train.bin").write_bytes(content)
    with pytest.raises(SddError, match=r"train.bin is damaged: some class is in several"):
        Cifar100().load(cifar100.parent)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (records((3,), (0,))[:-1], "it has 6,145 bytes, but 2 images need 6,146; delete it"),
        (records((3,), (0,), (1,)), "it has 9,219 bytes, but 2 images need 6,146"),
        (b"", "it has 0 bytes"),
        (records((3,), (10,)), "label 10 is not below 10; delete it"),
    ],
)
def test_damaged_files_are_named(cifar10, content, message):
    (cifar10 / "data_batch_2.bin").write_bytes(content)
    with pytest.raises(SddError, match=f"data_batch_2.bin is damaged: {message}"):
        Cifar10().load(cifar10.parent)


def test_a_label_byte_that_is_no_superclass_is_named(tmp_path):
    (tmp_path / "train.bin").write_bytes(records((20, 99)))
    with pytest.raises(SddError, match="coarse label 20 is not below 20"):
        read_records(tmp_path / "train.bin", 1, Cifar100.label_names)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(SddError, match=r"cannot read .*train.bin: .*; delete it"):
        read_records(tmp_path / "train.bin", 1, Cifar100.label_names)


@pytest.mark.parametrize("source", [Cifar10, Cifar100])
def test_no_files_and_no_network_is_one_line_that_says_what_to_get(tmp_path, source):
    with pytest.raises(SddError) as caught:
        source().load(tmp_path)
    said = str(caught.value)
    assert "\n" not in said
    for part in (source.name, "no route to host", source.archive, "--data-root"):
        assert part in said


def test_the_files_of_the_whole_data_sets_are_counted():
    assert sum(Cifar10.train_files.values()) == sum(Cifar100.train_files.values()) == 50_000
    assert sum(Cifar10.test_files.values()) == sum(Cifar100.test_files.values()) == 10_000

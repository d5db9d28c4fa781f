"""The IDX format, written here byte by byte, and where its files are looked for."""

import gzip
import struct

import numpy as np
import pytest
import torch

from sdd_core import SddError
from sdd_core.testing import check_data
from sdd_plugins.data.mnist import FashionMnist, Mnist, read_idx


def idx(values: np.ndarray) -> bytes:
    header = struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape)
    return header + values.astype(np.uint8).tobytes()


IMAGES = np.arange(3 * 4 * 5).reshape(3, 4, 5)
LABELS = np.array([7, 0, 9])


def write(folder, compress: bool = True, **parts):
    """The four files of a data set, three training images and two test images."""
    folder.mkdir(parents=True, exist_ok=True)
    contents = {
        "train-images-idx3-ubyte": idx(IMAGES),
        "train-labels-idx1-ubyte": idx(LABELS),
        "t10k-images-idx3-ubyte": idx(255 - IMAGES[:2]),
        "t10k-labels-idx1-ubyte": idx(LABELS[:2]),
    } | {name.replace("_", "-"): content for name, content in parts.items()}
    for name, content in contents.items():
        if compress:
            (folder / f"{name}.gz").write_bytes(gzip.compress(content))
        else:
            (folder / name).write_bytes(content)


@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize(
    ("source", "place"),
    [
        (Mnist, "root/MNIST/raw"),
        (Mnist, "root/mnist"),
        (Mnist, "system/mnist"),
        (FashionMnist, "root/FashionMNIST/raw"),
        (FashionMnist, "root/fashion-mnist"),
        (FashionMnist, "system/fashion-mnist"),
    ],
)
def test_files_are_read_from_every_place_compressed_or_not(tmp_path, source, place, compress):
    write(tmp_path / place, compress)
    data = source().load(tmp_path / "root").check()
    assert data.name == source.name
    assert torch.equal(data.train.images, torch.from_numpy(IMAGES.astype(np.uint8)).unsqueeze(1))
    assert data.train.images.dtype == torch.uint8
    assert data.train.labels.tolist() == [7, 0, 9]
    assert data.test.images[1, 0, 0, 0] == 255 - 20
    assert data.test.labels.tolist() == [7, 0]
    assert data.num_classes == 10


@pytest.mark.parametrize("source", [Mnist, FashionMnist])
def test_they_keep_the_contract(tmp_path, source):
    write(tmp_path / source.name)
    check_data(source, tmp_path)


def test_without_a_root_they_are_looked_for_in_the_home(tmp_path):
    write(tmp_path / "home/.cache/sdd/mnist")
    assert len(Mnist().load(None).train) == 3


def test_the_root_comes_before_the_system_and_whole_folders_before_partial_ones(tmp_path):
    write(tmp_path / "system/fashion-mnist")
    write(tmp_path / "root/fashion-mnist", train_labels_idx1_ubyte=idx(np.array([1, 2, 3])))
    assert FashionMnist().load(tmp_path / "root").train.labels.tolist() == [1, 2, 3]
    (tmp_path / "root/fashion-mnist/t10k-labels-idx1-ubyte.gz").unlink()
    assert FashionMnist().load(tmp_path / "root").train.labels.tolist() == [7, 0, 9]


@pytest.mark.parametrize("source", [Mnist, FashionMnist])
def test_no_files_and_no_network_is_one_line_and_leaves_nothing_behind(tmp_path, source):
    with pytest.raises(SddError) as caught:
        source().load(tmp_path / "root")
    said = str(caught.value)
    assert "\n" not in said
    for part in (source.name, str(tmp_path / "root"), "no route to host", "--data-root",
                 "train-images-idx3-ubyte.gz"):
        assert part in said
    assert [path for path in (tmp_path / "root").rglob("*") if path.is_file()] == []


def test_what_is_downloaded_is_there_the_next_time(tmp_path, monkeypatch):
    monkeypatch.setattr(Mnist, "_download", lambda self, folder: write(folder))
    Mnist().load(tmp_path)
    monkeypatch.setattr(Mnist, "_download", lambda self, folder: pytest.fail("downloaded again"))
    assert len(Mnist().load(tmp_path).train) == 3


def test_a_root_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "root").write_text("a file where a folder is wanted")
    with pytest.raises(SddError, match="data 'mnist' was not found"):
        Mnist().load(tmp_path / "root")


WHOLE = idx(IMAGES)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (WHOLE[:-1], "is damaged: it has 59 bytes of data, but its header says 60; delete it"),
        (WHOLE + b"\0", "is damaged: it has 61 bytes of data, but its header says 60"),
        (b"", "is not an IDX file of unsigned bytes with 3 dimension"),
        (WHOLE[:10], "is not an IDX file"),
        (b"<html>404 not found</html>", "is not an IDX file"),
        (idx(LABELS), "is not an IDX file"),
        (struct.pack(">BBBB3I", 0, 0, 13, 3, 3, 4, 5), "is not an IDX file of unsigned bytes"),
        (struct.pack(">BBBB3I", 0, 0, 8, 3, *(2**32 - 1,) * 3), "is damaged: it has 0 bytes"),
    ],
)
@pytest.mark.parametrize("compress", [True, False])
def test_damaged_files_are_named(tmp_path, content, message, compress):
    path = tmp_path / ("images.gz" if compress else "images")
    path.write_bytes(gzip.compress(content) if compress else content)
    with pytest.raises(SddError, match=message) as caught:
        read_idx(path, 3)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        gzip.compress(WHOLE, mtime=0)[:-9],
        gzip.compress(WHOLE, mtime=0)[:30],
        b"no gzip file",
        b"\x1f\x8b",
    ],
)
def test_damaged_compression_is_named(tmp_path, content):
    path = tmp_path / "images.gz"
    path.write_bytes(content)
    with pytest.raises(SddError, match=r"cannot read .*images.gz: .*; delete it and get it again"):
        read_idx(path, 3)


def test_damage_inside_the_compressed_data_is_named(tmp_path):
    content = bytearray(gzip.compress(np.random.default_rng(0).bytes(4096)))
    content[100:140] = bytes(40)
    (tmp_path / "images.gz").write_bytes(content)
    with pytest.raises(SddError, match=r"images.gz"):
        read_idx(tmp_path / "images.gz", 3)


def test_images_and_labels_that_do_not_belong_together_are_refused(tmp_path):
    write(tmp_path / "mnist", train_labels_idx1_ubyte=idx(LABELS[:2]))
    with pytest.raises(SddError, match="the training split has 3 images but 2 labels"):
        Mnist().load(tmp_path).check()
    write(tmp_path / "mnist", train_labels_idx1_ubyte=idx(np.array([1, 2, 10])))
    with pytest.raises(SddError, match="the training split has labels from 1 to 10"):
        Mnist().load(tmp_path).check()

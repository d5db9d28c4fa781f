import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from sdd_core import Augmentation, SddError
from sdd_core.testing import check_data
from sdd_plugins.data.tiny_imagenet import TinyImageNet

# How bright the images of each class are: JPEG keeps an even grey as it is.
BRIGHTNESS = {"n02": 40, "n01": 80}


def save(path, wnid):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((64, 64, 3), BRIGHTNESS[wnid], np.uint8)).save(path, "JPEG")


@pytest.fixture
def folder(tmp_path):
    """The tree as it comes out of the archive, with two classes."""
    folder = tmp_path / "tiny-imagenet-200"
    folder.mkdir()
    (folder / "wnids.txt").write_text("n02\nn01\n")
    for wnid in BRIGHTNESS:
        for number in range(2):
            save(folder / "train" / wnid / "images" / f"{wnid}_{number}.JPEG", wnid)
    lines = []
    for number, wnid in enumerate(["n01", "n02", "n02"]):
        save(folder / "val" / "images" / f"val_{number}.JPEG", wnid)
        lines.append(f"val_{number}.JPEG\t{wnid}\t0\t32\t44\t62\n")
    (folder / "val" / "val_annotations.txt").write_text("".join(lines))
    return folder


def test_it_keeps_the_contract(folder):
    check_data(TinyImageNet, folder.parent)


@pytest.mark.parametrize("size", [32, 64])
def test_classes_in_alphabetical_order_and_validation_as_test(folder, size):
    data = TinyImageNet(size=size).load(folder.parent).check()
    assert data.num_classes == 2
    assert data.train.labels.tolist() == [0, 0, 1, 1]
    assert data.test.labels.tolist() == [0, 1, 1]
    assert data.train.images.shape == (4, 3, size, size)
    assert data.train.images[:, 1, 5, 5].tolist() == [80, 80, 40, 40]
    assert data.test.images[:, 2, 9, 0].tolist() == [80, 40, 40]
    assert data.augmentation == Augmentation(pad=size // 8, flip=True)


def test_other_sizes_are_refused():
    with pytest.raises(ValidationError):
        TinyImageNet(size=48)


def refusal(folder) -> str:
    with pytest.raises(SddError) as caught:
        TinyImageNet().load(folder.parent)
    said = str(caught.value)
    assert "\n" not in said
    return said


def test_nothing_there_says_what_to_unpack_where(tmp_path):
    said = refusal(tmp_path / "tiny-imagenet-200")
    assert "wnids.txt" in said
    assert "tiny-imagenet-200.zip into" in said
    assert "--data-root" in said


def test_files_that_are_missing_or_damaged_are_named(folder):
    for image in (folder / "train/n01/images").iterdir():
        image.unlink()
    assert "n01/images has no .JPEG images" in refusal(folder)


def test_a_validation_image_that_is_missing_is_named(folder):
    (folder / "val/images/val_1.JPEG").unlink()
    assert "cannot read image" in refusal(folder)
    assert "val_1.JPEG" in refusal(folder)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("val/val_annotations.txt", "val_0.JPEG\tn99\t0\n", "has no class of wnids.txt"),
        ("val/val_annotations.txt", "val_0.JPEG\n", "'val_0.JPEG' has no class"),
        ("val/val_annotations.txt", "", "val_annotations.txt is empty"),
        ("wnids.txt", "", "wnids.txt is empty"),
        ("wnids.txt", "n01\nn03\n", "n03/images has no .JPEG"),
    ],
)
def test_lists_that_do_not_fit_are_named(folder, file, content, message):
    (folder / file).write_text(content)
    assert message in refusal(folder)


def test_a_list_that_is_no_text_is_named(folder):
    (folder / "wnids.txt").write_bytes(b"\xff\xfe\x80")
    assert "cannot read" in refusal(folder)

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from sdd_core import Augmentation, SddError
from sdd_core.testing import check_data
from sdd_plugins.data.image_folder import ImageFolder
from sdd_plugins.data.images import decode, statistics

DRAW = np.random.default_rng(3)


def save(path, size=(6, 4), mode="RGB") -> np.ndarray:
    """Writes an image of random pixels; `size` is width and height."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (size[1], size[0], 3) if mode == "RGB" else (size[1], size[0])
    pixels = DRAW.integers(0, 256, shape, dtype=np.uint8)
    Image.fromarray(pixels, mode).save(path)
    return pixels


@pytest.fixture
def folder(tmp_path):
    """Two cats and a dog to train on, a cat and two dogs for testing."""
    for name in ("train/cat/1.png", "train/cat/2.png", "train/dog/1.png"):
        save(tmp_path / "pets" / name)
    for name in ("test/cat/1.png", "test/dog/1.png", "test/dog/2.png"):
        save(tmp_path / "pets" / name)
    return tmp_path / "pets"


def test_it_keeps_the_contract(folder):
    check_data(ImageFolder(path=folder.name), folder.parent)


def test_pixels_and_labels_in_alphabetical_order(folder):
    pixels = save(folder / "train/dog/1.png")
    data = ImageFolder(path=str(folder)).load(None).check()
    assert data.train.images.shape == (3, 3, 4, 6)
    assert data.train.images.dtype == torch.uint8
    assert data.train.labels.tolist() == [0, 0, 1]
    assert data.test.labels.tolist() == [0, 1, 1]
    assert data.num_classes == 2
    assert np.array_equal(data.train.images[2].permute(1, 2, 0), pixels)
    assert data.augmentation is None


def test_classes_are_confused_by_their_names(folder):
    for part in ("train", "test"):
        save(folder / part / "ant" / "1.png")
    confusions = {"dog": "cat", "cat": "ant"}
    data = ImageFolder(path=str(folder), confusions=confusions).load(None)
    assert data.confusions == {2: 1, 1: 0}
    assert ImageFolder(path=str(folder)).load(None).confusions == {}
    with pytest.raises(SddError, match="no class is called 'wolf'; available: ant, cat, dog"):
        ImageFolder(path=str(folder), confusions={"dog": "wolf"}).load(None)


def test_normalised_with_the_training_images_own_statistics(folder):
    data = ImageFolder(path=str(folder)).load(None)
    values = data.train.images.double().transpose(0, 1).flatten(1) / 255
    assert data.mean == pytest.approx(values.mean(1).tolist())
    assert data.std == pytest.approx(values.std(1, correction=0).tolist())


def test_a_channel_without_variation_does_not_divide_by_zero():
    images = torch.full((2, 1, 3, 3), 51, dtype=torch.uint8)
    assert statistics(images) == ((0.2,), (1.0,))


def test_a_relative_path_lies_in_the_data_root(folder):
    assert len(ImageFolder(path="pets").load(folder.parent).train) == 3
    with pytest.raises(SddError, match="elsewhere"):
        ImageFolder(path="pets").load(folder.parent / "elsewhere")


def test_other_names_for_the_splits_and_augmentation(folder):
    (folder / "test").rename(folder / "val")
    data = ImageFolder(path=str(folder), test="val", pad=2, flip=True).load(None)
    assert len(data.test) == 3
    assert data.augmentation == Augmentation(pad=2, flip=True)


def test_images_of_different_sizes_are_refused_with_both_named(folder):
    save(folder / "test/dog/2.png", size=(5, 7))
    with pytest.raises(SddError) as caught:
        ImageFolder(path=str(folder)).load(None)
    said = str(caught.value)
    assert "test/dog/2.png has 5x7 pixels" in said
    assert "train/cat/1.png has 6x4" in said
    assert "data.size" in said


def test_size_brings_all_to_one(folder):
    save(folder / "test/dog/2.png", size=(5, 7))
    data = ImageFolder(path=str(folder), size=4).load(None).check()
    assert data.train.images.shape == (3, 3, 4, 4)
    assert data.test.images.shape == (3, 3, 4, 4)


def test_size_cuts_the_longer_side_to_a_square_and_leaves_squares_alone(tmp_path):
    wide = np.zeros((4, 8, 3), np.uint8)
    wide[:, 2:6] = 200  # the middle square
    Image.fromarray(wide).save(tmp_path / "wide.png")
    square = save(tmp_path / "square.png", size=(4, 4))
    images = decode([tmp_path / "wide.png", tmp_path / "square.png"], 4)
    assert bool((images[0] == 200).all())
    assert np.array_equal(images[1].permute(1, 2, 0), square)


def test_grey_images_become_rgb(folder):
    grey = save(folder / "train/cat/1.png", mode="L")
    data = ImageFolder(path=str(folder)).load(None)
    for channel in data.train.images[0]:
        assert np.array_equal(channel, grey)


def test_classes_that_are_in_one_split_alone_are_named(folder):
    save(folder / "test/emu/1.png")
    with pytest.raises(SddError, match="must have the same classes, but only one of them has emu"):
        ImageFolder(path=str(folder)).load(None)


def test_one_class_is_too_few(tmp_path):
    save(tmp_path / "train/cat/1.png")
    save(tmp_path / "test/cat/1.png")
    with pytest.raises(SddError, match="one class; at least two"):
        ImageFolder(path=str(tmp_path)).load(None).check()


@pytest.mark.parametrize("content", [b"", b"no image", None])
def test_an_image_that_cannot_be_read_is_named(folder, content):
    path = folder / "train/dog/1.png"
    path.write_bytes(path.read_bytes()[:60] if content is None else content)
    with pytest.raises(SddError, match=r"cannot read image .*train/dog/1.png: .*; replace it"):
        ImageFolder(path=str(folder)).load(None)


def test_missing_folders_and_empty_classes_are_one_line(folder, tmp_path):
    for path in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(SddError, match=r"expected .*/train/CLASS/IMAGE for") as caught:
            ImageFolder(path=str(path)).load(None)
        assert "\n" not in str(caught.value)
    (folder / "train/emu").mkdir()
    with pytest.raises(SddError, match="emu") as caught:
        ImageFolder(path=str(folder)).load(None)
    assert "\n" not in str(caught.value)


def test_the_path_must_be_given():
    with pytest.raises(ValidationError, match="path"):
        ImageFolder()
    with pytest.raises(ValidationError):
        ImageFolder(path="")

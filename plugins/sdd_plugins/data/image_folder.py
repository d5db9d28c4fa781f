"""A user's own images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from pydantic import Field

from sdd_core import Augmentation, Dataset, DataSource, SddError, Split
from sdd_plugins.data.images import decode, statistics


class ImageFolder(DataSource):
    """A folder of images with the layout `train/CLASS/IMAGE` and `test/CLASS/IMAGE`.

    Classes are numbered in alphabetical order, like in torchvision.datasets.ImageFolder. Images are
    converted to RGB and normalised with the training images' mean and standard deviation.
    """

    name = "image-folder"

    path: str = Field(
        min_length=1,
        description="folder of the data; a relative path starts at --data-root, or at the current "
        "folder if that is not set",
    )
    train: str = Field(default="train", description="its subfolder with the training images")
    test: str = Field(default="test", description="its subfolder with the test images")
    size: int | None = Field(
        default=None,
        ge=1,
        description="resize images to this number of pixels on each side; default: no resizing, "
        "all images must have one size",
    )
    pad: int = Field(default=0, ge=0, description="augmentation: maximum shift in pixels")
    flip: bool = Field(
        default=False, description="augmentation: flip half of the images left to right"
    )

    confusions: dict[str, str] = Field(
        default={},
        description="similar class of each class, for asymmetric noise, by name: {cat = 'dog'}",
    )

    def load(self, root: Path | None) -> Dataset:
        """Return the data; every image is decoded once. Raises SddError if it cannot be read."""
        folder = (root or Path()) / Path(self.path).expanduser()
        classes, train_samples = _list(folder / self.train)
        test_classes, test_samples = _list(folder / self.test)
        if classes != test_classes:
            odd = sorted(set(classes) ^ set(test_classes))
            raise SddError(
                f"{folder}: {self.train} and {self.test} must have the same classes, but only one "
                f"of them has {', '.join(odd[:5])}{', ...' if len(odd) > 5 else ''}"
            )
        confusions = _numbered(self.confusions, classes)
        # Decoded together, because the test images must have the size of the training images.
        paths, labels = zip(*train_samples, *test_samples, strict=True)
        images, numbers = decode([Path(path) for path in paths], self.size), torch.tensor(labels)
        count = len(train_samples)
        mean, std = statistics(images[:count])
        return Dataset(
            name=self.name,
            train=Split(images[:count], numbers[:count]),
            test=Split(images[count:], numbers[count:]),
            num_classes=len(classes),
            mean=mean,
            std=std,
            augmentation=Augmentation(self.pad, self.flip) if self.pad or self.flip else None,
            confusions=confusions,
        )


def _list(folder: Path) -> tuple[list[str], list[tuple[str, int]]]:
    """Return the classes of a folder, and its images with their class numbers."""
    from torchvision import datasets  # noqa: PLC0415 (takes seconds)

    try:
        listing = datasets.ImageFolder(folder)
    except OSError as error:
        raise SddError(
            f"data 'image-folder': {error}; expected {folder}/CLASS/IMAGE for each class, below "
            "--data-root if data.path is relative"
        ) from None
    return listing.classes, listing.samples


def _numbered(confusions: Mapping[str, str], classes: Sequence[str]) -> dict[int, int]:
    """Return the confusions with class numbers instead of names. Raises SddError for unknown names.
    """
    strange = sorted({*confusions, *confusions.values()} - set(classes))
    if strange:
        raise SddError(
            f"data.confusions: no class is called {strange[0]!r}; available: {', '.join(classes)}"
        )
    return {classes.index(one): classes.index(other) for one, other in confusions.items()}

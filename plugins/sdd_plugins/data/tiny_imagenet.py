"""Tiny ImageNet."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
from pydantic import Field

from sdd_core import Augmentation, Dataset, DataSource, SddError, Split
from sdd_plugins.data.cifar import MEAN, STD
from sdd_plugins.data.files import data_root
from sdd_plugins.data.images import decode

FOLDER = "tiny-imagenet-200"
URL = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"


class TinyImageNet(DataSource):
    """Tiny ImageNet: 110,000 photographs in 200 classes, of 32x32 or 64x64 pixels.

    The validation images are the test split, because the test images have no labels. The paper
    trains on random crops of 32x32 pixels at random scales; here whole images are resized, and
    augmentation shifts them by up to an eighth of their size.
    """

    name = "tiny-imagenet"
    default_noise = "symmetric"
    source = "Le and Yang (2015), Tiny ImageNet visual recognition challenge"

    size: Literal[32, 64] = Field(default=32, description="pixels on each side; 64 in the files")

    def load(self, root: Path | None) -> Dataset:
        """Read and decode the images of the unpacked archive in `<root>/tiny-imagenet-200`."""
        folder = data_root(root) / FOLDER
        classes = {wnid: number for number, wnid in enumerate(_classes(folder))}
        return Dataset(
            name=self.name,
            train=self._split(_training(folder, classes)),
            test=self._split(_validation(folder, classes)),
            num_classes=len(classes),
            mean=MEAN,
            std=STD,
            augmentation=Augmentation(pad=self.size // 8, flip=True),
        )

    def _split(self, samples: list[tuple[Path, int]]) -> Split:
        paths, labels = zip(*samples, strict=True)
        return Split(decode(paths, self.size), torch.tensor(labels))


def _classes(folder: Path) -> list[str]:
    """Return the names of the classes (WordNet ids) in alphabetical order, the order of their
    numbers."""
    names = sorted(_read(folder, "wnids.txt").split())
    if not names:
        raise SddError(f"{folder / 'wnids.txt'} is empty; unpack {URL} again")
    return names


def _training(folder: Path, classes: dict[str, int]) -> list[tuple[Path, int]]:
    samples = []
    for wnid, number in classes.items():
        paths = sorted((folder / "train" / wnid / "images").glob("*.JPEG"))
        if not paths:
            raise SddError(
                f"{folder / 'train' / wnid / 'images'} has no .JPEG images; unpack {URL} again"
            )
        samples += [(path, number) for path in paths]
    return samples


def _validation(folder: Path, classes: dict[str, int]) -> list[tuple[Path, int]]:
    samples = []
    for line in _read(folder, "val/val_annotations.txt").splitlines():
        file, wnid, *_ = [*line.split("\t"), "", ""]
        if wnid not in classes:
            raise SddError(
                f"{folder / 'val/val_annotations.txt'}: {line!r} has no class of wnids.txt; "
                f"unpack {URL} again"
            )
        samples.append((folder / "val" / "images" / file, classes[wnid]))
    if not samples:
        raise SddError(f"{folder / 'val/val_annotations.txt'} is empty; unpack {URL} again")
    return samples


def _read(folder: Path, file: str) -> str:
    try:
        return (folder / file).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise SddError(
            f"data 'tiny-imagenet': cannot read {folder / file} ({error}); unpack {URL} into "
            f"{folder.parent}, or set --data-root to the folder that contains {FOLDER}"
        ) from None

"""CIFAR-10 and CIFAR-100, in their binary version.

The version that most programs read, torchvision's classes among them, is pickled, and reading a
pickle runs whatever code it names. The binary version has the same images and no code.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from sdd_core import Augmentation, Dataset, DataSource, SddError, Split
from sdd_plugins.data.files import locate

IMAGE_BYTES = 3 * 32 * 32

# The values of ImageNet, which the authors of the paper also use for CIFAR and Tiny ImageNet.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class _Cifar(DataSource):
    """Base of CIFAR-10 and CIFAR-100.

    train_files, test_files: how many images each file has.
    label_names: the label bytes before each image, the class last, and how many values each has.
    """

    default_noise = "symmetric"
    source = "Krizhevsky (2009), Learning multiple layers of features from tiny images"

    archive: ClassVar[str]
    md5: ClassVar[str]
    folder: ClassVar[str]
    train_files: ClassVar[Mapping[str, int]]
    test_files: ClassVar[Mapping[str, int]]
    label_names: ClassVar[Mapping[str, int]]
    confusions: ClassVar[Mapping[int, int]] = {}

    def load(self, root: Path | None) -> Dataset:
        """Read the files in `<root>/<folder of the archive>`, or download them."""
        files = {**self.train_files, **self.test_files}
        folder = locate(
            self.name,
            root,
            folders=(self.folder,),
            complete=lambda place: all((place / file).is_file() for file in files),
            download=self._download,
            hint=f"unpack https://www.cs.toronto.edu/~kriz/{self.archive} (the binary version, "
            "because the python version is pickled) into",
        )
        train, test = (
            [read_records(folder / file, count, self.label_names) for file, count in part.items()]
            for part in (self.train_files, self.test_files)
        )
        (train_images, train_labels), (test_images, test_labels) = _join(train), _join(test)
        return Dataset(
            name=self.name,
            train=Split(train_images, train_labels[:, -1].contiguous()),
            test=Split(test_images, test_labels[:, -1].contiguous()),
            num_classes=list(self.label_names.values())[-1],
            mean=MEAN,
            std=STD,
            augmentation=Augmentation(pad=4, flip=True),
            confusions=self.confusions,
            superclasses=self._superclasses(folder, train_labels),
        )

    def _superclasses(self, folder: Path, labels: Tensor) -> tuple[int, ...]:
        """Return the superclasses from the training images' label bytes `[N, len(label_names)]`."""
        return ()

    def _download(self, folder: Path) -> None:
        from torchvision.datasets.utils import (  # noqa: PLC0415 (takes seconds)
            download_and_extract_archive,
        )

        url = f"https://www.cs.toronto.edu/~kriz/{self.archive}"
        download_and_extract_archive(url, str(folder), md5=self.md5, remove_finished=True)
        for file in (folder / self.folder).iterdir():
            file.rename(folder / file.name)
        (folder / self.folder).rmdir()


class Cifar10(_Cifar):
    """CIFAR-10: 60,000 photographs of 32x32 pixels in 10 classes."""

    name = "cifar10"

    archive: ClassVar[str] = "cifar-10-binary.tar.gz"
    md5: ClassVar[str] = "c32a1d4ab5d03f1284b67883e8d87530"
    folder: ClassVar[str] = "cifar-10-batches-bin"
    train_files: ClassVar[Mapping[str, int]] = {
        f"data_batch_{number}.bin": 10_000 for number in range(1, 6)
    }
    test_files: ClassVar[Mapping[str, int]] = {"test_batch.bin": 10_000}
    label_names: ClassVar[Mapping[str, int]] = {"label": 10}
    # Bird -> airplane, cat <-> dog, deer -> horse, truck -> automobile: He et al. (2022),
    # appendix A.3.
    confusions: ClassVar[Mapping[int, int]] = {2: 0, 3: 5, 5: 3, 4: 7, 9: 1}


class Cifar100(_Cifar):
    """CIFAR-100: 60,000 photographs of 32x32 pixels in 100 classes of 20 superclasses."""

    name = "cifar100"

    archive: ClassVar[str] = "cifar-100-binary.tar.gz"
    md5: ClassVar[str] = "03b5dce01913d631647c71ecec9e9cb8"
    folder: ClassVar[str] = "cifar-100-binary"
    train_files: ClassVar[Mapping[str, int]] = {"train.bin": 50_000}
    test_files: ClassVar[Mapping[str, int]] = {"test.bin": 10_000}
    label_names: ClassVar[Mapping[str, int]] = {"coarse label": 20, "fine label": 100}

    def _superclasses(self, folder: Path, labels: Tensor) -> tuple[int, ...]:
        """Return the coarse label of each fine one; every image has both."""
        coarse, fine = labels.unbind(1)
        superclasses = torch.full((100,), -1)
        superclasses[fine] = coarse
        if (superclasses < 0).any() or (superclasses[fine] != coarse).any():
            raise SddError(
                f"{folder / 'train.bin'} is damaged: some class is in several superclasses; "
                "delete it and get it again"
            )
        return tuple(superclasses.tolist())


def read_records(path: Path, count: int, label_names: Mapping[str, int]) -> tuple[Tensor, Tensor]:
    """Return the `count` images in a file, uint8 `[count, 3, 32, 32]`, and their labels, int64
    `[count, len(label_names)]`.

    Raises SddError when the file cannot be read, has another length, or a label is none of the
    classes of its name.
    """
    width = len(label_names) + IMAGE_BYTES
    try:
        content = np.fromfile(path, np.uint8)
    except OSError as error:
        raise SddError(f"cannot read {path}: {error}; delete it and get it again") from None
    if len(content) != count * width:
        raise SddError(
            f"{path} is damaged: it has {len(content):,} bytes, but {count:,} images need "
            f"{count * width:,}; delete it and get it again"
        )
    records = content.reshape(count, width)
    labels = records[:, : len(label_names)].astype(np.int64)
    for column, (name, classes) in zip(labels.T, label_names.items(), strict=True):
        if column.max() >= classes:
            raise SddError(
                f"{path} is damaged: {name} {column.max()} is not below {classes}; "
                "delete it and get it again"
            )
    images = np.ascontiguousarray(records[:, len(label_names) :]).reshape(count, 3, 32, 32)
    return torch.from_numpy(images), torch.from_numpy(labels)


def _join(parts: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    images, labels = zip(*parts, strict=True)
    return torch.cat(images), torch.cat(labels)

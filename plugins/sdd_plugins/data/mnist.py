"""MNIST and data sets in its file format."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Mapping
from itertools import product
from math import prod
from pathlib import Path
from typing import ClassVar
from urllib.error import URLError

import numpy as np
import torch
from torch import Tensor

from sdd_core import Dataset, DataSource, SddError, Split
from sdd_plugins.data.files import locate

# The similar digits for asymmetric noise: He et al. (2022), appendix A.3.
LOOKALIKES = {2: 7, 3: 8, 5: 6, 6: 5}

PARTS = ("train", "t10k")
FILES = ("images-idx3-ubyte", "labels-idx1-ubyte")


class Mnist(DataSource):
    """MNIST: 70,000 handwritten digits of 28x28 pixels."""

    name = "mnist"
    default_noise = "symmetric"
    source = (
        "LeCun, Bottou, Bengio and Haffner (1998), Gradient-based learning applied to "
        "document recognition"
    )

    torchvision_name: ClassVar[str] = "MNIST"
    mean: ClassVar[float] = 0.1307
    std: ClassVar[float] = 0.3081
    confusions: ClassVar[Mapping[int, int]] = LOOKALIKES

    def load(self, root: Path | None) -> Dataset:
        """Read IDX files, compressed or not, from `<root>/<torchvision's name>/raw`,
        `<root>/<name>` or `/usr/share/datasets/<name>`, or download them."""
        folder = locate(
            self.name,
            root,
            folders=(f"{self.torchvision_name}/raw", self.name),
            complete=lambda place: all(
                _file(place, part, file).is_file() for part, file in product(PARTS, FILES)
            ),
            download=self._download,
            hint="put the four files train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz, "
            "t10k-images-idx3-ubyte.gz and t10k-labels-idx1-ubyte.gz into",
        )
        train, test = (self._split(folder, part) for part in PARTS)
        return Dataset(
            name=self.name,
            train=train,
            test=test,
            num_classes=10,
            mean=(self.mean,),
            std=(self.std,),
            confusions=self.confusions,
        )

    def _split(self, folder: Path, part: str) -> Split:
        images, labels = (
            read_idx(_file(folder, part, file), dimensions)
            for file, dimensions in zip(FILES, (3, 1), strict=True)
        )
        return Split(images.unsqueeze(1), labels.long())

    def _download(self, folder: Path) -> None:
        # Use torchvision's mirrors and checksums, but not its loader, which would read an old cache
        # in pickle format if there is one.
        import torchvision.datasets  # noqa: PLC0415 (takes seconds)
        from torchvision.datasets.utils import download_url  # noqa: PLC0415

        published = getattr(torchvision.datasets, self.torchvision_name)
        for file, md5 in published.resources:
            for mirror in published.mirrors:
                try:
                    download_url(mirror + file, str(folder), file, md5)
                    break
                except (RuntimeError, URLError):
                    if mirror == published.mirrors[-1]:
                        raise


class FashionMnist(Mnist):
    """Fashion-MNIST: 70,000 articles of clothing of 28x28 pixels.

    Debian's package `dataset-fashion-mnist` is used if it is installed. The similar classes for
    asymmetric noise are those of the code of Xia et al., Robust early-learning (ICLR 2021): T-shirt
    -> shirt, pullover -> coat, sandal <-> sneaker.
    """

    name = "fashion-mnist"
    source = "Xiao, Rasul and Vollgraf (2017), arXiv 1708.07747"

    torchvision_name: ClassVar[str] = "FashionMNIST"
    mean: ClassVar[float] = 0.2860
    std: ClassVar[float] = 0.3530
    confusions: ClassVar[Mapping[int, int]] = {0: 6, 2: 4, 5: 7, 7: 5}


def read_idx(path: Path, dimensions: int) -> Tensor:
    """Return the unsigned bytes in an IDX file, `.gz` or plain, uint8 with `dimensions` dimensions.

    Raises SddError if the file cannot be read, has another format, or has another length than its
    header says.
    """
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
            content = file.read()
    except (OSError, EOFError, zlib.error) as error:
        raise SddError(f"cannot read {path}: {error}; delete it and get it again") from None
    # Two zeros, 8 for unsigned bytes, the number of dimensions; then each of them, big-endian.
    start = 4 + 4 * dimensions
    if content[:4] != bytes((0, 0, 8, dimensions)) or len(content) < start:
        raise SddError(
            f"{path} is not an IDX file of unsigned bytes with {dimensions} dimension(s); "
            "delete it and get it again"
        )
    shape = [int(size) for size in np.frombuffer(content[4:start], ">u4")]
    if len(content) - start != prod(shape):
        raise SddError(
            f"{path} is damaged: it has {len(content) - start:,} bytes of data, but its header "
            f"says {prod(shape):,}; delete it and get it again"
        )
    return torch.from_numpy(np.frombuffer(content, np.uint8, offset=start).reshape(shape).copy())


def _file(folder: Path, part: str, file: str) -> Path:
    """Return the path of the plain file if it exists, else that of the compressed one."""
    plain = folder / f"{part}-{file}"
    return plain if plain.is_file() else folder / f"{part}-{file}.gz"

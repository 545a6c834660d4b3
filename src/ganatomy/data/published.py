"""Datasets that torchvision reads and downloads. To add one, describe it and add a loader."""

import gzip
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from torch import Tensor

from ganatomy.data.samples import Samples, Split
from ganatomy.data.shape import Shape, check, reshape_all
from ganatomy.storage.download import fetch
from ganatomy.storage.files import write_atomic

LONGEST = 100_000_000
"""Largest allowed size of an unpacked file in bytes; no file of these datasets is so large."""


@dataclass(frozen=True)
class Published:
    """Files of a dataset below the data root, and their content."""

    name: str
    """name of torchvision's class"""
    folder: str
    files: tuple[str, ...]
    """all files, which torchvision needs for either split"""
    layout: tuple[int, ...]
    """shape of an image in torchvision's dataset"""
    counts: Mapping[Split, int]
    classes: tuple[str, ...]


IDX = tuple(
    f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")
)
"""Files of MNIST and Fashion-MNIST."""

FASHION_MNIST = Published(
    "FashionMNIST",
    "FashionMNIST/raw",
    IDX,
    (28, 28),
    {"train": 60_000, "test": 10_000},
    (
        "T-shirt/top",
        "trouser",
        "pullover",
        "dress",
        "coat",
        "sandal",
        "shirt",
        "sneaker",
        "bag",
        "ankle boot",
    ),
)

CIFAR10 = Published(
    "CIFAR10",
    "cifar-10-batches-py",
    (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch", "batches.meta"),
    (32, 32, 3),
    {"train": 50_000, "test": 10_000},
    (
        "airplane",
        "automobile",
        "bird",
        "cat",
        "deer",
        "dog",
        "frog",
        "horse",
        "ship",
        "truck",
    ),
)


def fashion_mnist(root: Path, split: Split = "train", shape: Shape | None = None) -> Samples:
    """The 60,000 training or 10,000 test images, 1 x 28 x 28; in root/FashionMNIST/raw.

    H. Xiao, K. Rasul, R. Vollgraf 2017, arXiv 1708.07747; MIT license.

    Raises:
        ValueError: if they are not there and cannot be downloaded, or are damaged; for a bad shape.
    """
    check(shape)
    images, labels = read(FASHION_MNIST, root, split)
    return reshape_all(Samples(images.unsqueeze(1), labels, FASHION_MNIST.classes), shape)


def cifar10(root: Path, split: Split = "train", shape: Shape | None = None) -> Samples:
    """The 50,000 training or 10,000 test images, 3 x 32 x 32; in root/cifar-10-batches-py.

    A. Krizhevsky 2009, Learning Multiple Layers of Features from Tiny Images.

    Raises:
        ValueError: if they are not there and cannot be downloaded, or are damaged; for a bad shape.
    """
    check(shape)
    images, labels = read(CIFAR10, root, split)
    values = images.permute(0, 3, 1, 2).contiguous()
    return reshape_all(Samples(values, labels, CIFAR10.classes), shape)


def present(root: Path, wanted: Published) -> bool:
    """Return whether all files of a dataset are there."""
    return all((root / wanted.folder / name).exists() for name in wanted.files)


def read(wanted: Published, root: Path, split: Split, instead: str = "") -> tuple[Tensor, Tensor]:
    """Read images (N, *layout) and labels (N,), after a download of absent files.

    Args:
        wanted: the dataset.
        root: folder of full datasets.
        split: training or test images.
        instead: advice for the error message where there is an alternative.

    Raises:
        ValueError: if the files are absent and cannot be downloaded, or are damaged.
    """
    from torchvision import datasets  # takes a second

    absent, layout = not present(root, wanted), (wanted.counts[split], *wanted.layout)
    try:
        kind = getattr(datasets, wanted.name)
        if absent:
            _install(wanted, kind, root)
            absent = False
        full = kind(root, train=split == "train", download=False)
        images, labels = torch.as_tensor(full.data), torch.as_tensor(full.targets)
        if images.shape != layout or labels.shape != layout[:1]:
            raise ValueError(f"wrong sizes, {tuple(images.shape)} and {tuple(labels.shape)}")
    except Exception as error:  # torchvision raises many kinds for unreadable files
        reason = " ".join(str(error).split()) or "cannot be read"
        what, why = ("no", "none could be downloaded: ") if absent else ("damaged", "")
        raise ValueError(
            f"{what} {wanted.name} in {root / wanted.folder} (looked for "
            f"{', '.join(wanted.files)}; {why}{reason}): {point(wanted)}{instead}"
        ) from error
    return images, labels


def point(wanted: Published) -> str:
    """Return the advice for a dataset that is in another folder."""
    return f"point --data-root or $GANATOMY_DATA at the folder that holds {wanted.folder}"


def _install(wanted: Published, kind: Any, root: Path) -> None:
    """Download and unpack absent files, each atomically."""
    folder = root / wanted.folder
    absent = [name for name in wanted.files if not (folder / name).exists()]
    unpack = _gzips if hasattr(kind, "resources") else _tar
    for name, content in unpack(wanted, kind, root, absent):
        if len(content) > LONGEST:
            raise ValueError(f"{name} has more than {LONGEST:,} bytes")
        with FileLock(root / f".{wanted.name}.lock"):
            write_atomic(folder / name, content)


Unpacked = Iterator[tuple[str, bytes]]
"""Name and content of each absent file; of a file that is too large, its beginning."""


def _gzips(wanted: Published, kind: Any, root: Path, absent: list[str]) -> Unpacked:
    for packed, md5 in kind.resources:
        name, archive = packed.removesuffix(".gz"), root / wanted.folder / packed
        if name in absent:
            fetch([mirror + packed for mirror in kind.mirrors], archive, f"md5:{md5}")
            with gzip.open(archive) as file:
                yield name, file.read(LONGEST + 1)


def _tar(wanted: Published, kind: Any, root: Path, absent: list[str]) -> Unpacked:
    archive = root / kind.filename
    fetch(kind.url, archive, f"md5:{kind.tgz_md5}")
    names = {f"{wanted.folder}/{name}": name for name in absent}
    with tarfile.open(archive) as tar:
        for member in tar:  # read, not extracted: no other member or link can be written
            if member.name in names and member.isreg() and (file := tar.extractfile(member)):
                yield names[member.name], file.read(LONGEST + 1)

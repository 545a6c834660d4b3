"""Datasets that torchvision reads and downloads; to add one, describe it and write its loader."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ganatomy.data.samples import Samples, Split
from ganatomy.data.shape import Shape, check, reshape_all


@dataclass(frozen=True)
class Published:
    """Where a dataset lies below the data root, and what must be found there."""

    name: str
    """of torchvision's class"""
    folder: str
    files: tuple[str, ...]
    """torchvision wants all of them for either split"""
    layout: tuple[int, ...]
    """shape of a picture as torchvision gives it"""
    counts: Mapping[Split, int]
    classes: tuple[str, ...]


IDX = tuple(
    f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")
)
"""What MNIST and Fashion-MNIST consist of."""

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
    """The 60,000 training or 10,000 test pictures, 1 x 28 x 28; in root/FashionMNIST/raw.

    H. Xiao, K. Rasul, R. Vollgraf 2017, arXiv 1708.07747; MIT licence.

    Raises:
        ValueError: if they are not there and cannot be downloaded, or are damaged; for a bad shape.
    """
    check(shape)
    images, labels = read(FASHION_MNIST, root, split)
    return reshape_all(Samples(images.unsqueeze(1), labels, FASHION_MNIST.classes), shape)


def cifar10(root: Path, split: Split = "train", shape: Shape | None = None) -> Samples:
    """The 50,000 training or 10,000 test pictures, 3 x 32 x 32; in root/cifar-10-batches-py.

    A. Krizhevsky 2009, Learning Multiple Layers of Features from Tiny Images.

    Raises:
        ValueError: if they are not there and cannot be downloaded, or are damaged; for a bad shape.
    """
    check(shape)
    images, labels = read(CIFAR10, root, split)
    values = images.permute(0, 3, 1, 2).contiguous()
    return reshape_all(Samples(values, labels, CIFAR10.classes), shape)


def present(root: Path, wanted: Published) -> bool:
    """Whether a dataset is there and needs no download."""
    return all((root / wanted.folder / name).exists() for name in wanted.files)


def read(wanted: Published, root: Path, split: Split, instead: str = "") -> tuple[Tensor, Tensor]:
    """Read pictures (N, *layout) and labels (N,), and download them where they are absent.

    Args:
        wanted: which.
        root: the data root.
        split: which pictures.
        instead: what else the person may do who has none.

    Raises:
        ValueError: if they are not there and cannot be downloaded, or are damaged.
    """
    from torchvision import datasets  # a second of import, so only where it is needed

    absent, layout = not present(root, wanted), (wanted.counts[split], *wanted.layout)
    try:
        kind = getattr(datasets, wanted.name)
        full = kind(root, train=split == "train", download=absent)
        images, labels = torch.as_tensor(full.data), torch.as_tensor(full.targets)
        if images.shape != layout or labels.shape != layout[:1]:
            raise ValueError(f"wrong sizes, {tuple(images.shape)} and {tuple(labels.shape)}")
    except Exception as error:  # torchvision raises many kinds for a file it cannot read
        reason = " ".join(str(error).split()) or "cannot be read"
        what, why = ("no", "none could be downloaded") if absent else ("damaged", reason)
        raise ValueError(
            f"{what} {wanted.name} in {root / wanted.folder} (looked for "
            f"{', '.join(wanted.files)}; {why}): {point(wanted)}{instead}"
        ) from error
    return images, labels


def point(wanted: Published) -> str:
    """Say what the person may do who has a dataset elsewhere."""
    return f"point --data-root or $GANATOMY_DATA at the folder that holds {wanted.folder}"

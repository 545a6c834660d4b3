"""Datasets by name or path. To add one, write its loader and add an entry to DATASETS."""

from dataclasses import replace
from functools import partial
from pathlib import Path

from ganatomy.data import mnist, published, toy
from ganatomy.data.brightness import brightness_warning
from ganatomy.data.celeba import celeba
from ganatomy.data.convert import Convert
from ganatomy.data.dataset import Dataset, Load, as_dataset, check_dataset, data_root
from ganatomy.data.folder import load_images
from ganatomy.data.identity import Content, is_content_name
from ganatomy.data.samples import (
    Samples,
    Size,
    Split,
    batch_indices,
    derive_seed,
    digest,
    scaled,
)
from ganatomy.data.shape import Shape, reshape_all
from ganatomy.validation import nearest, register, resolve

DATASETS: dict[str, Dataset] = {
    "mnist": Dataset(
        mnist.mnist,
        "MNIST: 60,000 digits, 10,000 for tests; downloaded where absent",
        Size(60_000, (1, 28, 28)),
    ),
    "mnist10k": Dataset(
        mnist.mnist10k,
        "1,000 training digits of each class; part of the package",
        Size(10_000, (1, 28, 28)),
    ),
    "fashion-mnist": Dataset(
        published.fashion_mnist,
        "Fashion-MNIST: 60,000 pieces of clothing, 10,000 for tests; downloaded where absent",
        Size(60_000, (1, 28, 28)),
    ),
    "cifar10": Dataset(
        published.cifar10,
        "CIFAR-10: 50,000 images of 32 x 32, 10,000 for tests; downloaded where absent",
        Size(50_000, (3, 32, 32)),
    ),
    "celeba": Dataset(
        celeba,
        "CelebA: 162,770 faces, 19,962 for tests, 64 x 64; not downloaded",
        Size(162_770, (3, 64, 64), mapped=True),
    ),
    "ring8": Dataset(
        partial(toy.load, "ring8"),
        "points: eight normal modes on a circle",
        Size(toy.POINTS, (2,)),
    ),
    "grid25": Dataset(
        partial(toy.load, "grid25"),
        "points: 5 x 5 normal modes on a grid",
        Size(toy.POINTS, (2,)),
    ),
    "moons": Dataset(
        partial(toy.load, "moons"),
        "points: two half circles with noise",
        Size(toy.POINTS, (2,)),
    ),
}


def find_dataset(name: str) -> Dataset:
    """Return a dataset by its name in DATASETS or by an importable name, package.module:object.

    The object is anything that as_dataset takes.

    Raises:
        ValueError: for an unknown dataset.
    """
    return resolve(DATASETS, name, "dataset", as_dataset)


def is_name(name: str) -> bool:
    """Whether this names a dataset, in DATASETS or by an importable name, rather than a path."""
    return name in DATASETS or (":" in name and not Path(name).exists())


def register_dataset(name: str, part: object, about: str = "") -> None:
    """Add a dataset to DATASETS, once check_dataset accepts it.

    Args:
        name: name that recipes use.
        part: anything that as_dataset takes.
        about: one line of description; empty keeps the part's own.

    Raises:
        ValueError: if the name is taken, or as check_dataset does.
    """
    dataset = as_dataset(part)
    register(
        DATASETS, name, replace(dataset, about=about or dataset.about), "dataset", check_dataset
    )


def load(
    name: str | Path,
    root: str | Path,
    split: Split | None,
    skip_bad: bool = False,
    shape: Shape | None = None,
    convert: Convert = "none",
) -> Samples:
    """Load a dataset by name, or from a folder, zip, tar, npz, HDF5 or parquet of images.

    Args:
        name: name in DATASETS, importable name, or path. Names come first: a folder called mnist
            is ./mnist.
        root: folder of full datasets, for datasets by name.
        split: None means the training split of a name, and all images of a path.
        skip_bad: skip unreadable images of a path, with a warning.
        shape: (C, H, W) that images are cropped and resized to (see shape.py); None keeps them.
        convert: how to convert images of a path that are not 8-bit gray or RGB (see convert.py).

    Raises:
        ValueError: if there is no such name or path, or it cannot be used.
        OSError: if there is no space for the cache.
    """
    name = str(name)
    if is_name(name):
        return find_dataset(name).load(Path(root), split or "train", shape)
    if is_content_name(name) and not Path(name).exists():
        raise ValueError(
            f"{name} are images that are known by their digest; name the folder, zip, tar or npz "
            "that holds them with --data (data= in Python)"
        )
    if not name or not Path(name).exists():
        raise ValueError(
            f"unknown dataset {name!r} {nearest(name, DATASETS)}; the path of a folder, zip, tar, "
            "npz, HDF5 or parquet of images, or package.module:object, works too"
        )
    return load_images(Path(name), split, skip_bad, shape, convert)


__all__ = [
    "DATASETS",
    "Content",
    "Convert",
    "Dataset",
    "Load",
    "Samples",
    "Shape",
    "Size",
    "Split",
    "as_dataset",
    "batch_indices",
    "brightness_warning",
    "check_dataset",
    "data_root",
    "derive_seed",
    "digest",
    "find_dataset",
    "is_content_name",
    "is_name",
    "load",
    "load_images",
    "register_dataset",
    "reshape_all",
    "scaled",
]

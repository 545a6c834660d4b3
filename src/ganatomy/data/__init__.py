"""Datasets. To add one, write its loader and add a line to DATASETS."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

from ganatomy.data import mnist, published, toy
from ganatomy.data.celeba import celeba
from ganatomy.data.folder import load_images
from ganatomy.data.samples import Samples, Split, balanced, batch_indices, derive_seed, digest
from ganatomy.data.shape import Shape, reshape_all
from ganatomy.storage.cache import cache_root
from ganatomy.validation import nearest

DATASETS: dict[str, tuple[str, Callable[..., Samples]]] = {
    "mnist": ("MNIST: 60,000 digits, 10,000 for tests; downloaded where absent", mnist.mnist),
    "mnist10k": ("1,000 training digits of each class; part of the package", mnist.mnist10k),
    "fashion-mnist": (
        "Fashion-MNIST: 60,000 pieces of clothing, 10,000 for tests; downloaded where absent",
        published.fashion_mnist,
    ),
    "cifar10": (
        "CIFAR-10: 50,000 images of 32 x 32, 10,000 for tests; downloaded where absent",
        published.cifar10,
    ),
    "celeba": ("CelebA: 162,770 faces, 19,962 for tests, 64 x 64; put there by you", celeba),
    "ring8": ("points: eight normal modes on a circle", partial(toy.load, "ring8")),
    "grid25": ("points: 5 x 5 normal modes on a grid", partial(toy.load, "grid25")),
    "moons": ("points: two half circles with noise", partial(toy.load, "moons")),
}
"""name -> (one line, loader(data root, split="train", shape=None))"""


def load(
    name: str,
    root: Path,
    split: Split | None,
    skip_bad: bool = False,
    shape: Shape | None = None,
) -> Samples:
    """Load a dataset by its name in DATASETS or by the path of a folder, zip, tar or npz.

    Args:
        name: what to load; the names come first, so a folder called mnist is ./mnist.
        root: the data root, for datasets by name.
        split: None for the training images of a name, and for all that is in a path.
        skip_bad: leave out the bad images of a path, with a warning.
        shape: (C, H, W) that images are cut and resized to (see shape.py); None leaves them.

    Raises:
        ValueError: if there is no such name or path, or it cannot be used.
        OSError: if there is no space for the cache.
    """
    if name in DATASETS:
        return DATASETS[name][1](root, split or "train", shape)
    if not name or not Path(name).exists():
        raise ValueError(
            f"unknown dataset {name!r} {nearest(name, DATASETS)}; the path of a folder, zip, tar "
            "or npz of images works too, but this is none"
        )
    return load_images(Path(name), split, skip_bad, shape)


def data_root(given: Path | None = None) -> Path:
    """Return the folder of full datasets: the one given, $GANATOMY_DATA or a cache folder."""
    if given is not None:
        return given
    if named := os.environ.get("GANATOMY_DATA"):
        return Path(named)
    return cache_root()


__all__ = [
    "DATASETS",
    "Samples",
    "Shape",
    "Split",
    "balanced",
    "batch_indices",
    "data_root",
    "derive_seed",
    "digest",
    "load",
    "load_images",
    "reshape_all",
]

"""Datasets. To add one, write its loader and add a line to DATASETS."""

import os
from collections.abc import Callable
from pathlib import Path

from ganatomy.data import mnist
from ganatomy.data.folder import pictures
from ganatomy.data.samples import Samples, Split, balanced, batch_indices, digest, mix
from ganatomy.fields import nearest
from ganatomy.files import cache_root

DATASETS: dict[str, tuple[str, Callable[..., Samples]]] = {
    "mnist": ("MNIST: 60,000 digits, 10,000 for tests; downloaded where absent", mnist.mnist),
    "mnist10k": ("1,000 training digits of each class; part of the package", mnist.mnist10k),
}
"""name -> (one line, loader(data root, split="train"))"""


def load(name: str, root: Path, split: Split | None, skip_bad: bool = False) -> Samples:
    """Load a dataset by its name in DATASETS or by the path of a folder, zip, tar or npz.

    Args:
        name: what to load; the names come first, so a folder called mnist is ./mnist.
        root: the data root, for datasets by name.
        split: None for the training pictures of a name, and for all that is in a path.
        skip_bad: leave out the bad pictures of a path, with a warning.

    Raises:
        ValueError: if there is no such name or path, or it cannot be used.
    """
    if name in DATASETS:
        return DATASETS[name][1](root, split or "train")
    if not name or not Path(name).exists():
        raise ValueError(
            f"unknown dataset {name!r} {nearest(name, DATASETS)}; the path of a folder, zip, tar "
            "or npz of pictures works too, but this is none"
        )
    return pictures(Path(name), split, skip_bad)


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
    "Split",
    "balanced",
    "batch_indices",
    "data_root",
    "digest",
    "load",
    "mix",
    "pictures",
]

"""Dataset: a loader of samples by name, and its conformance check."""

import os
import warnings
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import torch

from ganatomy.data.brightness import brightness_warning
from ganatomy.data.given import as_samples
from ganatomy.data.samples import Samples, Size, Split, digest
from ganatomy.data.shape import Shape, reshape_all
from ganatomy.storage.cache import cache_root
from ganatomy.validation import require


class Load(Protocol):
    """Function that loads one split of a dataset."""

    def __call__(self, root: Path, split: Split = "train", shape: Shape | None = None) -> Samples:
        """Load the split.

        Args:
            root: folder of full datasets; loaders look for their files below it.
            split: training or test samples.
            shape: (C, H, W) that images are cropped and resized to; None keeps them.

        Returns:
            The same samples in the same order at every call.

        Raises:
            ValueError: if the files are absent or damaged, or the shape cannot be had.
        """
        ...


@dataclass(frozen=True)
class Dataset:
    """A dataset that is loaded by name."""

    load: Load
    about: str = ""
    """one line of description"""
    size: Size | None = None
    """of the training split; None if it is known only after loading"""


def as_dataset(part: object) -> Dataset:
    """Return a Dataset as it is; make one of a loader (see Load), or of images as as_samples does.

    Images have no test split.

    Raises:
        ValueError: for anything else.
    """
    if isinstance(part, Dataset):
        return part
    if callable(part):
        return Dataset(part, (part.__doc__ or "").partition("\n")[0])
    samples = as_samples(part)
    if warning := brightness_warning(samples.values):
        warnings.warn(warning, stacklevel=2)
    return Dataset(partial(_given, samples), size=Size(len(samples), samples.shape))


def _given(
    samples: Samples, root: Path, split: Split = "train", shape: Shape | None = None
) -> Samples:
    if split == "test":
        raise ValueError("these images have no test split; give a loader that has one")
    return reshape_all(samples, shape)


def data_root(given: str | Path | None = None) -> Path:
    """Return the folder of full datasets: the given one, $GANATOMY_DATA, or a cache folder."""
    if given is not None:
        return Path(given)
    if named := os.environ.get("GANATOMY_DATA"):
        return Path(named)
    return cache_root()


def check_samples(samples: object) -> None:
    """Check the types, shapes and ranges of values and labels.

    Raises:
        ValueError: for the first rule that is broken.
    """
    if not isinstance(samples, Samples):
        raise ValueError(f"a loader must return Samples, got a {type(samples).__name__}")
    values, labels, classes = samples.values, samples.labels, samples.classes
    images = values.dtype == torch.uint8 and values.ndim == 4 and values.shape[1] in (1, 3)
    points = values.dtype == torch.float32 and values.ndim == 2
    require(
        (images or points) and values.numel() > 0,
        "values must be images, uint8 (N, 1 or 3, H, W), or points, float32 (N, D), got "
        f"{values.dtype} {tuple(values.shape)}",
    )
    require(images or bool((values.abs() <= 1).all()), "points must lie in [-1, 1]")
    form = (labels.dtype, tuple(labels.shape))
    require(form == (torch.int64, (len(values),)), f"labels must be int64 (N,), got {form}")
    known = bool(((labels >= 0) & (labels < max(len(classes), 1))).all())
    require(known, f"labels must be classes' indices, of which there are {len(classes)}, or all 0")


def check_dataset(part: object, root: str | Path | None = None) -> None:
    """Check both splits, that two loads are equal, that shape is kept to, and the claimed size.

    Args:
        part: anything that as_dataset takes; its test split may be absent.
        root: folder of full datasets; None takes the default.

    Raises:
        ValueError: for the first rule that is broken, or if the training split cannot be loaded.
    """
    dataset, root = as_dataset(part), data_root(root)
    train = dataset.load(root, "train")
    check_samples(train)
    require(digest(dataset.load(root, "train")) == digest(train), "two loads differ")
    found = (len(train), train.shape)
    known = found if dataset.size is None else (dataset.size.n, dataset.size.shape)
    require(found == known, f"its size is {known}, but its samples are {found}")
    if len(train.shape) == 3:
        made = dataset.load(root, "train", (3, 12, 10)).shape
        require(made == (3, 12, 10), f"shape (3, 12, 10) was asked for, got {made}")
    try:
        test = dataset.load(root, "test")
    except ValueError:
        return
    check_samples(test)
    alike = (test.shape, test.classes) == (train.shape, train.classes)
    require(alike, "the test split has another shape, or other classes")
    require(digest(test) != digest(train), "both splits have the same samples")

"""MNIST: the full dataset through torchvision, and 10,000 images that come with ganatomy.

Y. LeCun, C. Cortes, C. Burges; CC BY-SA 3.0, see MNIST-LICENSE.txt.
"""

from importlib.resources import files
from pathlib import Path

import numpy as np
import torch

from ganatomy.data import published
from ganatomy.data.content import content_order, image_hashes
from ganatomy.data.samples import Samples, Split
from ganatomy.data.shape import Shape, check, reshape_all

FILES = published.IDX
"""Files in MNIST/raw below the data root; torchvision needs all four."""

DIGITS = tuple("0123456789")
"""Class names."""

COUNTS = (5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949)
"""Number of training images of each digit."""

MNIST = published.Published(
    "MNIST", "MNIST/raw", FILES, (28, 28), {"train": 60_000, "test": 10_000}, DIGITS
)


def present(root: Path) -> bool:
    """Whether MNIST is below the data root, so that no download is needed."""
    return published.present(root, MNIST)


def mnist(root: Path, split: Split = "train", shape: Shape | None = None) -> Samples:
    """Load the 60,000 training or 10,000 test images, 1 x 28 x 28, from root/MNIST/raw.

    They are downloaded where absent.

    Raises:
        ValueError: if the files are absent and cannot be downloaded, or are damaged; for a bad
            shape.
    """
    check(shape)
    instead = ", or use --dataset mnist10k, which is part of ganatomy"
    images, labels = published.read(MNIST, root, split, instead if split == "train" else "")
    return reshape_all(Samples(images.unsqueeze(1), labels, DIGITS), shape)


def mnist10k(root: Path, split: Split = "train", shape: Shape | None = None) -> Samples:
    """Load the first 1,000 training images of each digit, 1 x 28 x 28, from the package.

    The test split is MNIST's, where MNIST is present.

    Raises:
        ValueError: for the test split if MNIST is absent or damaged; for a bad shape.
    """
    check(shape)
    if split == "test":
        if not present(root):
            raise ValueError(
                f"mnist10k has no test images of its own and MNIST is not in "
                f"{root / MNIST.folder}: {published.point(MNIST)}, or use --dataset mnist, which "
                "downloads it"
            )
        return mnist(root, "test", shape)
    with (
        files("ganatomy.data").joinpath("mnist10k.npz").open("rb") as file,
        np.load(file, allow_pickle=False) as arrays,
    ):
        images, labels = arrays["images"], arrays["labels"]
    values = torch.from_numpy(images).unsqueeze(1)
    return reshape_all(Samples(values, torch.from_numpy(labels).long(), DIGITS), shape)


def natural() -> Samples:
    """Return as many of the embedded images as have MNIST's shares of the digits, 8,900 of 10,000.

    They are drawn at random by content, see content.py.
    """
    digits = mnist10k(Path())
    order = content_order(image_hashes(digits))
    labels = digits.labels[order]
    places = torch.cat(
        [order[labels == digit][: round(1000 * n / max(COUNTS))] for digit, n in enumerate(COUNTS)]
    )
    return Samples(digits.values[places], digits.labels[places], digits.classes)

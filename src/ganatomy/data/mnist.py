"""MNIST: the whole of it through torchvision, and the 10,000 pictures that come with ganatomy.

Y. LeCun, C. Cortes, C. Burges; CC BY-SA 3.0, see MNIST-LICENSE.txt.
"""

from importlib.resources import files
from pathlib import Path

import numpy as np
import torch

from ganatomy.data.samples import Samples, Split

FILES = tuple(
    f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")
)
"""What MNIST consists of, in MNIST/raw below the data root; torchvision wants all four."""

DIGITS = tuple("0123456789")
"""What the labels are called."""


def present(root: Path) -> bool:
    """Whether MNIST is there and needs no download."""
    return all((root / "MNIST" / "raw" / name).exists() for name in FILES)


def mnist(root: Path, split: Split = "train") -> Samples:
    """The 60,000 training or 10,000 test pictures, 1 x 28 x 28; in root/MNIST/raw or put there.

    Raises:
        ValueError: if they are not there and cannot be downloaded, or are damaged.
    """
    from torchvision.datasets import MNIST  # a second of import, so only where it is needed

    raw, absent = root / "MNIST" / "raw", not present(root)
    count = {"train": 60_000, "test": 10_000}[split]
    try:
        full = MNIST(root, train=split == "train", download=absent)
        images, labels = full.data, full.targets
        if images.shape != (count, 28, 28) or labels.shape != (count,):
            raise ValueError(f"wrong sizes, {tuple(images.shape)} and {tuple(labels.shape)}")
    except Exception as error:  # torchvision raises many kinds for a file it cannot read
        what = "no MNIST" if absent else "damaged MNIST"
        why = (
            "none could be downloaded"
            if absent
            else " ".join(str(error).split()) or "cannot be read"
        )
        other = ", or use --dataset mnist10k, which is part of ganatomy"
        raise ValueError(
            f"{what} in {raw} (looked for {', '.join(FILES)}; {why}): {_POINT}"
            f"{other if split == 'train' else ''}"
        ) from error
    return Samples(images.unsqueeze(1), labels, DIGITS)


def mnist10k(root: Path, split: Split = "train") -> Samples:
    """The first 1,000 training pictures of each digit, 1 x 28 x 28; part of the package.

    It has no test pictures of its own: those of MNIST are given, where MNIST is present.

    Raises:
        ValueError: if test pictures are asked for and MNIST is absent or damaged.
    """
    if split == "test":
        if not present(root):
            raise ValueError(
                f"mnist10k has no test pictures of its own and MNIST is not in "
                f"{root / 'MNIST' / 'raw'}: {_POINT}, or use --dataset mnist, which downloads it"
            )
        return mnist(root, "test")
    with (
        files("ganatomy.data").joinpath("mnist10k.npz").open("rb") as file,
        np.load(file, allow_pickle=False) as arrays,
    ):
        images, labels = arrays["images"], arrays["labels"]
    return Samples(torch.from_numpy(images).unsqueeze(1), torch.from_numpy(labels).long(), DIGITS)


_POINT = "point --data-root or $GANATOMY_DATA at the folder that holds MNIST/raw"

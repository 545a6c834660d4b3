"""MNIST: the whole of it through torchvision, and the 10,000 pictures that come with ganatomy.

Y. LeCun, C. Cortes, C. Burges; CC BY-SA 3.0, see MNIST-LICENSE.txt.
"""

from importlib.resources import files
from pathlib import Path

import numpy as np
import torch

from ganatomy.data.samples import Samples


def mnist(root: Path) -> Samples:
    """The 60,000 training pictures, 1 x 28 x 28; read from root/MNIST/raw or downloaded there.

    Raises:
        ValueError: if they are not there and cannot be downloaded, or are damaged.
    """
    from torchvision.datasets import MNIST  # a second of import, so only where it is needed

    raw = root / "MNIST" / "raw"
    try:
        full = MNIST(root, train=True, download=not (raw / "train-images-idx3-ubyte").exists())
        images, labels = full.data, full.targets
    except (OSError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(
            f"no usable MNIST in {raw} (wanted: train-images-idx3-ubyte, train-labels-idx1-ubyte) "
            f"and none could be downloaded ({reason[:120]}); point --data-root or $GANATOMY_DATA at "
            "the folder that holds MNIST/raw, or use --dataset mnist10k, which needs no files"
        ) from error
    return Samples(images.unsqueeze(1), labels)


def mnist10k(root: Path) -> Samples:
    """The first 1,000 training pictures of each digit, 1 x 28 x 28; part of the package."""
    with (
        files("ganatomy.data").joinpath("mnist10k.npz").open("rb") as file,
        np.load(file, allow_pickle=False) as arrays,
    ):
        images, labels = arrays["images"], arrays["labels"]
    return Samples(torch.from_numpy(images).unsqueeze(1), torch.from_numpy(labels).long())

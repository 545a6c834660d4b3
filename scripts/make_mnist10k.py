"""Make the embedded dataset: the first 1,000 training images of each digit, in file order.

Usage: python scripts/make_mnist10k.py DATA_ROOT
DATA_ROOT is where torchvision keeps MNIST (the folder that holds MNIST/raw). The rule depends on
nothing but the training file, so the result is the same bytes each time.
"""

import sys
from pathlib import Path

import numpy as np
from torchvision.datasets import MNIST

PER_CLASS = 1000
OUT = Path(__file__).parent.parent / "src/ganatomy/data/mnist10k.npz"


def choose(labels: np.ndarray, per_class: int = PER_CLASS) -> np.ndarray:
    """Return the rising positions of the first per_class samples of each class."""
    firsts = [np.flatnonzero(labels == digit)[:per_class] for digit in range(10)]
    return np.sort(np.concatenate(firsts))


def main() -> None:
    """Write the subset into the package."""
    full = MNIST(sys.argv[1], train=True)
    images, labels = full.data.numpy(), full.targets.numpy().astype(np.uint8)
    chosen = choose(labels)
    np.savez_compressed(OUT, images=images[chosen], labels=labels[chosen])
    print(f"{OUT.name}: {len(chosen)} images, {OUT.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()

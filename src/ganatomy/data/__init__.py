"""Datasets. To add one, write its loader and add a line to DATASETS."""

import os
from collections.abc import Callable
from pathlib import Path

from ganatomy.data import mnist
from ganatomy.data.samples import Samples, batch_indices, mix

DATASETS: dict[str, tuple[str, Callable[[Path], Samples]]] = {
    "mnist": ("MNIST, 60,000 training digits; downloaded where absent", mnist.mnist),
    "mnist10k": ("1,000 training digits of each class; part of the package", mnist.mnist10k),
}
"""name -> (one line, loader that is given the data root)"""


def data_root(given: Path | None = None) -> Path:
    """Return the folder of full datasets: the one given, $GANATOMY_DATA or a cache folder."""
    if given is not None:
        return given
    if named := os.environ.get("GANATOMY_DATA"):
        return Path(named)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "ganatomy"


__all__ = ["DATASETS", "Samples", "batch_indices", "data_root", "mix"]

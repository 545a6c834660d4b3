"""ganatomy datasets."""

from dataclasses import dataclass
from typing import Any

from ganatomy.cli.output import Command, Listing


@dataclass(frozen=True, kw_only=True)
class Datasets(Command):
    """List the datasets."""

    def call(self) -> Any:
        """Return names and descriptions."""
        from ganatomy.data import DATASETS, data_root

        abouts = {name: dataset.about for name, dataset in DATASETS.items()}
        root = str(data_root())
        values = {"data_root": root, "datasets": abouts}
        note = f"\nfolder of full datasets: {root}"
        return Listing(("dataset", "about"), list(abouts.items()), values, note)

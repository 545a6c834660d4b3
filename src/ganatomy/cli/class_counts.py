"""ganatomy class-counts."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import Positional, arg

from ganatomy.cli.output import Command


@dataclass(frozen=True, kw_only=True)
class ClassCounts(Command):
    """Count the classes that a classifier predicts in samples, and draw both."""

    run: Annotated[Positional[Path], arg(metavar="RUN")]
    """run folder"""
    n: int = 256
    """number of samples"""
    classifier: Literal["classifier", "classifier-mlp-hinge"] = "classifier"
    """classifier that predicts the classes"""
    seed: int = 0
    """seed of the latent vectors"""
    out: Path
    """a .png, .svg or .pdf file; of a toy density a .png"""
    data_root: Path | None = None
    """folder of full datasets; by default the run's, else $GANATOMY_DATA or a cache folder"""
    data: Path | None = None
    """place of the run's own images; by default where they were when it was trained"""

    def call(self) -> Any:
        """Write the figure."""
        from ganatomy.api.train import load
        from ganatomy.evaluation.class_counts import class_counts

        return class_counts(
            load(self.run),
            self.n,
            self.seed,
            self.classifier,
            self.data_root,
            self.out,
            self.data,
        )

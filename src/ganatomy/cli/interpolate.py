"""ganatomy interpolate."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, arg

from ganatomy.cli.output import Command


@dataclass(frozen=True, kw_only=True)
class Interpolate(Command):
    """Draw images between pairs of latent vectors, and measure how evenly they change."""

    run: Annotated[Positional[Path], arg(metavar="RUN")]
    """run folder"""
    pairs: int = 5
    """rows of images"""
    k: int = 10
    """steps from one end of a row to the other"""
    slerp: bool = False
    """follow the arc between the two vectors instead of the straight line"""
    seed: int = 0
    """seed of the latent vectors"""
    out: Path
    """a .png file"""

    def call(self) -> Any:
        """Write the image."""
        from ganatomy.api.train import load
        from ganatomy.runs.sampling import check_suffix

        out = check_suffix(self.out, ".png")
        return load(self.run).interpolate(self.pairs, self.k, self.seed, self.slerp).save(out)

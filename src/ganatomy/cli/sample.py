"""ganatomy sample."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, arg

from ganatomy.cli.output import Command


@dataclass(frozen=True, kw_only=True)
class Sample(Command):
    """Write samples of a run's newest checkpoint to a file or folder."""

    run: Annotated[Positional[Path], arg(metavar="RUN")]
    """run folder"""
    n: int = 64
    """number of samples"""
    out: Path
    """a .png (one grid), an .npz (array images, uint8 N x H x W x C; points of a toy density), a
    folder (a PNG for each sample), or a .gif or .mp4 with --over_checkpoints"""
    over_checkpoints: bool = False
    """write a film: a frame for each checkpoint, of the same latent vectors"""
    seed: int = 0
    """seed of the latent vectors; the i-th sample depends on seed and i only"""

    def call(self) -> Any:
        """Write the file."""
        from ganatomy.api.train import load

        run = load(self.run)
        save = run.save_film if self.over_checkpoints else run.save_samples
        return save(self.out, self.n, self.seed)

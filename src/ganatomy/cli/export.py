"""ganatomy export."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, arg

from ganatomy.cli.output import Command

if TYPE_CHECKING:
    from ganatomy.runs import export


@dataclass(frozen=True, kw_only=True)
class Export(Command):
    """Write a run's generator to one file that needs neither the run nor its data."""

    run: Annotated[Positional[Path], arg(metavar="RUN")]
    """run folder"""
    out: Path
    """a .safetensors file, which ganatomy.runs.export.read loads, or an .onnx file (z to samples,
    for any batch size; needs: pip install 'ganatomy[export]')"""
    checkpoint: str = "last"
    """last, or a step"""
    weights: Literal["ema", "raw"] = "ema"
    """averaged weights, if the recipe averages them, or raw ones"""

    def call(self) -> "export.Export":
        """Export the generator."""
        from ganatomy.runs.export import export
        from ganatomy.runs.folder import Run

        if self.checkpoint != "last" and not self.checkpoint.isdigit():
            raise ValueError(f"--checkpoint must be last or a step, got {self.checkpoint}")
        step = None if self.checkpoint == "last" else int(self.checkpoint)
        return export(Run.open(self.run), self.out, step=step, weights=self.weights)

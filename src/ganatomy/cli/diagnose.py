"""ganatomy diagnose."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, arg

from ganatomy.cli.output import Command


@dataclass(frozen=True, kw_only=True)
class Diagnose(Command):
    """Find the failures of a run: since which step, with what evidence, and what to try."""

    run: Annotated[Positional[Path], arg(metavar="RUN")]
    """run folder"""
    device: str = "auto"
    """auto, cpu, cuda, cuda:N or mps"""
    data_root: Path | None = None
    """folder of full datasets; by default the run's, else $GANATOMY_DATA or a cache folder"""
    data: Path | None = None
    """place of the run's own images; by default where they were when it was trained"""

    def call(self) -> Any:
        """Diagnose the run."""
        from ganatomy.api.train import load

        return load(self.run).diagnose(self.device, self.data_root, self.data)

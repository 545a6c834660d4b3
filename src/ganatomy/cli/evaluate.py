"""ganatomy evaluate."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, arg

from ganatomy.cli.output import Command
from ganatomy.evaluation.settings import EvaluationSettings


@dataclass(frozen=True, kw_only=True)
class Evaluate(Command):
    """Measure a run, or images from anywhere, against real images."""

    what: Annotated[Positional[Path], arg(metavar="RUN|IMAGES")]
    """run folder; or a folder, zip, tar, npz, HDF5 or parquet of images"""
    checkpoint: str = "last"
    """last, all, a step, or best, which is picked by FD on other samples than those reported"""
    audit: bool = False
    """measure one checkpoint with the generator in eval mode, in train mode and with reestimated
    batch norm statistics"""
    settings: Annotated[EvaluationSettings, arg(name="")] = field(default=EvaluationSettings())

    def call(self) -> Any:
        """Measure."""
        from ganatomy.api.evaluate import measure

        return measure(self.what, self.settings, self.checkpoint, self.audit)

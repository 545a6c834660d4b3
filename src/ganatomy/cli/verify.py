"""ganatomy verify."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from ganatomy.cli import terminal
from ganatomy.cli.output import Command

if TYPE_CHECKING:
    from ganatomy.training.verify import Verification


@dataclass(frozen=True, kw_only=True)
class Verify(Command):
    """Check every file of a run folder, and that its training can be reproduced."""

    run: Annotated[Positional[Path], arg(metavar="RUN")]
    """run folder"""
    replay: bool = False
    """train again from a random checkpoint to the next one, and compare the two files"""
    seed: int | None = None
    """seed of the checkpoint's choice; None means a new one each time"""
    data: Path | None = None
    """place of the run's own images; by default where they were when it was trained"""

    def call(self) -> "Verification":
        """Verify the run."""
        from ganatomy.runs.folder import Run
        from ganatomy.training.verify import verify

        run = Run.open(self.run)
        return verify(run, replay=self.replay, seed=self.seed, data=self.data)

    def show(self, result: "Verification") -> None:
        """Print a table of all files, and the replay."""
        rows = [(f.file, "intact" if f.intact else "DAMAGED", f.about) for f in result.files]
        state = {True: "the same", False: "CHANGED", None: "not compared"}[result.data.same]
        rows.append(("(data)", state, "" if result.data.same is False else result.data.about))
        terminal.table(("file", "state", "content"), rows)
        if (again := result.replay) is not None:
            same = "the same file" if again.same else f"weights differ by {again.difference:.2g}"
            terminal.say(f"\nreplayed steps {again.first:,} to {again.last:,}: {same}")

    def code(self, result: "Verification") -> int:
        """Print a line for each problem, changed data first; return 1 if there is one."""
        if result.data.same is False:
            terminal.complain(result.data.about)
        for check in result.damaged:
            terminal.complain(f"{check.file} {check.about}")
        if result.replay is not None and not result.replay.same:
            terminal.complain(
                f"step {result.replay.last} differs: the machine, thread count, precision or "
                "PyTorch is not that of the training (see environment.json), or there is a defect"
            )
        return int(not result.passed)

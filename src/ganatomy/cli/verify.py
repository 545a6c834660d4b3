"""The command that sees whether a run folder is what it says."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, arg

from ganatomy.cli import terminal
from ganatomy.cli.output import answer


@dataclass(frozen=True, kw_only=True)
class Verify:
    """Check every file of a run folder; and prove that it goes on as it says, by doing so."""

    run: Annotated[Positional[Path], arg(metavar="RUN")]
    """run folder"""
    replay: bool = False
    """train again from one checkpoint, drawn at random, to the next, and compare the two files"""
    seed: int | None = None
    """which checkpoint --replay draws; by default another each time"""
    json: bool = False
    """print the result as JSON"""

    def __call__(self) -> int:
        """Run the command."""
        from ganatomy.runs.folder import Run
        from ganatomy.training import verify

        run = Run.open(self.run)
        found = list(verify.verify(run))
        broken = [f for f in found if not f.whole]
        result: dict[str, Any] = {"files": [f._asdict() for f in found], "broken": len(broken)}
        came = verify.replay(run, self.seed) if self.replay and not broken else None
        if came is not None:
            result["replay"] = came._asdict()

        def show() -> None:
            rows = [(f.file, "whole" if f.whole else "BROKEN", f.what) for f in found]
            terminal.table(("file", "is", "what"), rows)
            if came is not None:
                same = "the same file" if came.same else f"weights off by {came.difference:.2g}"
                terminal.say(f"\nreplayed steps {came.first:,} to {came.last:,}: {same}")

        answer(self.json, result, show)
        for f in broken:
            terminal.complain(f"{f.file} {f.what}")
        if came is not None and not came.same:
            terminal.complain(
                f"step {came.last} came out otherwise: another machine, thread count, precision or "
                "PyTorch than it was trained with does that (see environment.json), or a defect"
            )
        return int(bool(broken) or (came is not None and not came.same))

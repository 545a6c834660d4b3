"""ganatomy diagnose."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from ganatomy.cli import terminal
from ganatomy.cli.output import answer
from ganatomy.evaluation.protocol import preset


@dataclass(frozen=True, kw_only=True)
class Diagnose:
    """Say what goes wrong in a run, since which step, how one can tell, and what to try."""

    run: Annotated[Positional[Path], arg(metavar="RUN")]
    """run folder"""
    device: str = "auto"
    """auto, cpu, cuda, cuda:N or mps"""
    data_root: Path | None = None
    """folder of full datasets; by default the run's, else $GANATOMY_DATA or a cache folder"""
    json: bool = False
    """print the result as JSON"""

    def __call__(self) -> int:
        """Run the command."""
        from ganatomy.data import data_root
        from ganatomy.evaluation import evaluate
        from ganatomy.evaluation.diagnose import diagnose
        from ganatomy.evaluation.metrics import value
        from ganatomy.evaluation.reference import EvalOptions, reference
        from ganatomy.evaluation.text import number
        from ganatomy.figures.images import GRID
        from ganatomy.gan.machine import pick_device
        from ganatomy.runs.folder import Run

        run = Run.open(self.run)
        if not run.checkpoints() and not run.rows("log"):
            raise ValueError(f"{run.path} has neither log nor checkpoint yet; train it first")
        place = EvalOptions(
            data_root(self.data_root or run.options.data_root),
            pick_device(self.device),
            shape=run.recipe.data.shape,
            skip_bad=run.options.skip_bad,
        )
        ref = reference(preset("classifier-2k"), run.recipe.data.dataset, place)
        few = ref._replace(protocol=ref.protocol.replace(n=GRID))
        # the rules are about what a classifier sees
        rows = [e for e in evaluate.measured(run) if e.protocol.features == "classifier"]
        newest = [
            f for f in [run.newest_checkpoint()] if f
        ]  # none, if it diverged before the first
        rows += evaluate.evaluate_run(run, newest, ref, evaluate.DIAGNOSTIC_METRICS)
        known = {e.step for e in rows}  # by more samples than a grid has
        rows += [e for e in evaluate.evaluate_grids(run, few) if e.step not in known]
        rows.sort(key=lambda e: e.step or 0)
        failure = run.sessions[-1].get("failure") if run.sessions else None
        found = diagnose(run.recipe, run.rows("log"), rows, failure)
        values = dict(rows[-1]) if rows else {}

        def show() -> None:
            if not any(d.until is None for d in found):
                terminal.say(f"nothing wrong is seen, up to step {rows[-1].step:,}")
            for d in found:
                until = "to the end" if d.until is None else f"to step {d.until:,}, then no more"
                terminal.say(f"{d.name}, from step {d.begins:,} {until}")
                terminal.say(f"  seen:  {d.evidence}")
                if d.until is None:
                    terminal.say(f"  try:   {d.advice}")
            told = "  ".join(f"{value(n).title} {number(v)}" for n, v in values.items())
            terminal.say(f"\nlooked at {len(rows)} measurements; newest: {told}")

        result = {"run": str(run.path), "found": [d.to_dict() for d in found], "values": values}
        return answer(self.json, result, show)

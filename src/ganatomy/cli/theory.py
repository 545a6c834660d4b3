"""ganatomy theory."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ganatomy.cli import terminal
from ganatomy.cli.output import Command


@dataclass(frozen=True, kw_only=True)
class Theory(Command):
    """Check the theory of GANs on known densities, and write a page about it."""

    out: Path = Path("theory.html")
    """page to write, an .html file"""
    seeds: int = 3
    """number of discriminators to train on each pair of densities: seeds 0, 1, ..."""
    steps: int = 2000
    """training steps of each"""

    def call(self) -> Any:
        """Check, and write the page."""
        if self.out.suffix != ".html":
            raise ValueError(f"--out must end in .html, got {self.out}")
        from ganatomy.pages import theory
        from ganatomy.theory.findings import check

        found = check(self.seeds, self.steps)
        theory.page(found).save(self.out)
        return found

    def show(self, result: Any) -> None:
        """Print the main tables, and where the page is."""
        identities = [
            (r.pair, f"{r.jsd:.6f}", f"{r.c:.6f}", f"{r.residual:.0e}") for r in result.identities
        ]
        heads = ("data and generator", "JSD", "C(G)", "C(G) + log 4 − 2 JSD")
        terminal.table(heads, identities)
        terminal.say("")
        learning = [
            (f"{r.pair} {r.step}", f"{r.error.mean:.4f}", f"{-r.short.mean:.5f}")
            for r in result.learning
        ]
        terminal.table(("step", "mean |D − D*|", "V(D, G) − C(G)"), learning)
        terminal.say("")
        gradients = [
            (f"{r.distance:g}", f"{r.minimax:.3g}", f"{r.non_saturating:.3g}")
            for r in result.gradients
        ]
        terminal.table(("distance", "gradient of log(1 − D)", "of −log D"), gradients)
        terminal.say(f"\n{self.out.absolute()}")

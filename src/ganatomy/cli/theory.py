"""The command that checks the theory of GANs by numbers."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ganatomy.cli import terminal
from ganatomy.cli.output import answer


@dataclass(frozen=True, kw_only=True)
class Theory:
    """Check the theory of GANs on densities that are known, and write a page of it."""

    out: Path = Path("theory.html")
    """the page"""
    seeds: int = 3
    """how many discriminators to train on each pair of densities: seeds 0, 1, ..."""
    steps: int = 2000
    """how long to train each"""
    json: bool = False
    """print every number as JSON"""

    def __call__(self) -> int:
        """Run the command."""
        if self.out.suffix != ".html":
            raise ValueError(f"--out must end in .html, got {self.out}")
        if self.seeds < 1 or self.steps < 1:
            given = f"{self.seeds} {self.steps}"
            raise ValueError(f"--seeds and --steps must be at least 1, got {given}")
        from ganatomy.gan.machine import environment
        from ganatomy.pages.theory import render
        from ganatomy.storage.files import write_atomic
        from ganatomy.theory import findings

        trained = findings.train(self.seeds, self.steps)
        found = {
            "identities": findings.identities(),
            "maximisers": findings.maximisers(),
            "learning": findings.learning(trained),
            "gradients": findings.gradients(),
            "descents": findings.descents(),
            "settings": {"seeds": self.seeds, "steps": self.steps},
            "environment": environment(),
        }
        write_atomic(self.out, render(found, trained).encode())
        return answer(self.json, {"page": str(self.out)} | found, lambda: _show(found, self.out))


def _show(found: dict[str, Any], out: Path) -> None:
    identities = [
        (row["pair"], f"{row['jsd']:.6f}", f"{row['c']:.6f}", f"{row['residual']:.0e}")
        for row in found["identities"]
    ]
    terminal.table(("data and generator", "JSD", "C(G)", "C(G) + log 4 − 2 JSD"), identities)
    terminal.say("")
    learning = [
        (
            f"{row['pair']} {row['step']}",
            f"{row['error']['mean']:.4f}",
            f"{-row['short']['mean']:.5f}",
        )
        for row in found["learning"]
    ]
    terminal.table(("step", "mean |D − D*|", "V(D, G) − C(G)"), learning)
    terminal.say("")
    gradients = [
        (f"{row['distance']:g}", f"{row['minimax']:.3g}", f"{row['non_saturating']:.3g}")
        for row in found["gradients"]
    ]
    terminal.table(("distance", "gradient of log(1 − D)", "of −log D"), gradients)
    terminal.say(f"\n{out.absolute()}")

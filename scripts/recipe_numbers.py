"""Write the measurements of named recipes into the pages of docs.

    python scripts/recipe_numbers.py RUNS     # a folder of runs with the names of recipes

The text between a line `<!-- numbers: conv-gan, dcgan64 -->` of a page and the next `<!-- end -->`
is replaced.
"""

import re
import sys
from pathlib import Path
from typing import NamedTuple

from tables import DOCS, table

from ganatomy.evaluation.checkpoints import measured
from ganatomy.evaluation.result import Evaluation
from ganatomy.evaluation.text import interval, number
from ganatomy.runs.folder import Run

HEAD = (
    "recipe",
    "steps",
    "epochs",
    "FD ↓ [95 % interval]",
    "precision ↑",
    "recall ↑",
    "FD of real images",
)


class Measured(NamedTuple):
    """The newest measurement of a recipe's run."""

    name: str
    epochs: float
    evaluation: Evaluation


def newest(runs: Path, name: str) -> Measured | None:
    """Return the last evaluation of a recipe's run under classifier-10k; None without one."""
    for file in runs.rglob(f"{name}/recipe.json"):
        run = Run.open(file.parent)
        rows = [e for e in measured(run) if e.protocol.name == "classifier-10k"]
        if rows:
            last = run.rows("log")[-1]
            return Measured(name, (rows[-1].step or 0) * last["epoch"] / last["step"], rows[-1])
    return None


def cells(found: Measured) -> list[str]:
    """Return the cells of a measurement, under HEAD."""
    e = found.evaluation
    fd = e.score("fd")
    return [
        f"`{found.name}`",
        f"{e.step:,}",
        f"{found.epochs:.3g}",
        f"{number(fd.value)} {interval(fd.low, fd.high)}",
        number(e["precision"]),
        number(e["recall"]),
        number(fd.real),
    ]


def tables(runs: Path, names: list[str], root: str) -> str:
    """Write a table for each protocol, and the names of recipes without a run."""
    found = {name: newest(runs, name) for name in names}
    measurements = [one for one in found.values() if one is not None]
    parts = []
    for fingerprint in dict.fromkeys(one.evaluation.fingerprint for one in measurements):
        alike = [one for one in measurements if one.evaluation.fingerprint == fingerprint]
        protocol = alike[0].evaluation.protocol
        resized = "." if protocol.resize == "none" else f",\nresized {protocol.resize}."
        title = (
            f"Protocol `classifier-10k` [{fingerprint}], reference {protocol.dataset}{resized} "
            "One run for each recipe:"
        )
        parts += [title, table(HEAD, [cells(one) for one in alike])]
    if measurements:
        parts.append(
            "Seeds, machine, commands and images are in\n"
            f"[reports]({root}studies/reports/README.md). "
            "For `basic-gan` and `conv-gan`, they are in the\n"
            f"[first look]({root}studies/first-look/README.md)."
        )
    absent = [f"`{name}`" for name, one in found.items() if one is None]
    if absent:
        parts.append(f"Trained only in the tests: {', '.join(absent)}.")
    return "\n\n".join(parts)


if __name__ == "__main__":
    for page in sorted(DOCS.rglob("*.md")):
        root = "../" * len(page.relative_to(DOCS).parts)

        def renewed(match: re.Match[str], root: str = root) -> str:
            """Return the new text of a marked place."""
            names = [name.strip() for name in match[1].split(",")]
            made = tables(Path(sys.argv[1]), names, root)
            return f"<!-- numbers: {match[1]} -->\n{made}\n<!-- end -->"

        text = page.read_text(encoding="utf-8")
        marked = r"<!-- numbers: (.*?) -->\n.*?<!-- end -->"
        page.write_text(re.sub(marked, renewed, text, flags=re.S), encoding="utf-8")

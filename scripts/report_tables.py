"""Print what runs were measured by as Markdown tables, for studies/reports.

python scripts/report_tables.py RUN [RUN ...]           # a table of steps for each
python scripts/report_tables.py --newest RUN [RUN ...]  # one table of each run's newest row
"""

import sys
from pathlib import Path

import pages

from ganatomy.evaluation.evaluate import measured
from ganatomy.evaluation.protocol import require_same
from ganatomy.evaluation.result import Evaluation
from ganatomy.evaluation.text import interval, number
from ganatomy.runs.folder import Run

NAMES = ("fd", "score", "precision", "recall", "coverage", "missing")
HEAD = ("FD [95 % interval]", "score", "precision", "recall", "coverage", "missing classes")


def cells(e: Evaluation) -> list[str]:
    """Write the values of an evaluation."""
    fd = e.score("fd")
    first = f"{number(fd.value)} {interval(fd.low, fd.high)}"
    return [first, *(number(e[name]) for name in NAMES[1:])]


def table(labelled: list[tuple[str, Evaluation]], label: str) -> str:
    """Write evaluations of one protocol under each other, and the real score."""
    require_same((name, e.protocol) for name, e in labelled)
    first = labelled[0][1]
    real = ["real", *(number(first.real(name)) for name in NAMES)]
    lines = [*([name, *cells(e)] for name, e in labelled), real]
    title = f"{first.protocol.name} `{first.fingerprint}`, {first.n:,} samples"
    return f"{title}\n\n{pages.table((label, *HEAD), lines)}\n"


if __name__ == "__main__":
    newest, paths = sys.argv[1] == "--newest", [Path(a) for a in sys.argv[1:] if a != "--newest"]
    rows = {path.name: measured(Run.open(path)) for path in paths}
    if newest:
        print(table([(f"`{name}`", found[-1]) for name, found in rows.items()], "run"))
    for name, found in {} if newest else rows.items():
        labelled = [(f"{e.step:,}", e) for e in found]
        print(f"### {name}\n\n{table(labelled, 'step')}")

"""Print what runs were measured by as Markdown tables, for studies/reports.

python scripts/report_tables.py RUN [RUN ...]           # a table of steps for each
python scripts/report_tables.py --newest RUN [RUN ...]  # one table of each run's newest row
"""

import sys
from pathlib import Path

import pages

from ganatomy.evaluation.evaluate import measured, protocol_of
from ganatomy.evaluation.protocol import require_same
from ganatomy.evaluation.tables import number
from ganatomy.runs.folder import Row, Run

NAMES = ("fd", "score", "precision", "recall", "coverage", "missing")
HEAD = ("FD [95 % interval]", "score", "precision", "recall", "coverage", "missing classes")


def cells(row: Row) -> list[str]:
    """Write a row's values."""
    fd = row["values"]["fd"]
    first = f"{number(fd['value'])} [{number(fd['low'])}, {number(fd['high'])}]"
    return [first, *(number(row["values"][name]["value"]) for name in NAMES[1:])]


def table(labelled: list[tuple[str, Row]], label: str) -> str:
    """Write rows of one protocol under each other, and their floor."""
    require_same((name, protocol_of(row)) for name, row in labelled)
    row = labelled[0][1]
    floor = ["real", *(number(row["values"][name]["real"]) for name in NAMES)]
    lines = [*([name, *cells(row)] for name, row in labelled), floor]
    title = f"{row['protocol']} `{row['fingerprint']}`, {row['n']:,} samples"
    return f"{title}\n\n{pages.table((label, *HEAD), lines)}\n"


if __name__ == "__main__":
    newest, paths = sys.argv[1] == "--newest", [Path(a) for a in sys.argv[1:] if a != "--newest"]
    rows = {path.name: measured(Run.open(path)) for path in paths}
    if newest:
        print(table([(f"`{name}`", found[-1]) for name, found in rows.items()], "run"))
    for name, found in {} if newest else rows.items():
        labelled = [(f"{row['step']:,}", row) for row in found]
        print(f"### {name}\n\n{table(labelled, 'step')}")

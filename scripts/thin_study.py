"""Copy the results of a study without its checkpoints, to commit them in studies/.

    python scripts/thin_study.py STUDY_FOLDER DESTINATION

Plan, verdicts, page and tables are copied. Each run keeps recipe.json, options.json,
environment.json, metrics.jsonl, and at most ROWS rows of log.jsonl at equal distances. Runs of a
shared store, which is beside the study, are copied beside the destination.
"""

import csv
import shutil
import sys
from pathlib import Path

ROWS = 100


def thinned(lines: list[str]) -> list[str]:
    """Return every n-th line, counted from the last."""
    every = -(-len(lines) // ROWS)
    return lines[::-1][::every][::-1]


def main(source: Path, destination: Path) -> None:
    """Copy a study folder."""
    destination.mkdir(parents=True, exist_ok=True)
    for file in source.iterdir():
        if file.is_file() and not file.name.startswith("."):
            shutil.copy(file, destination)
    own = (source / "runs").exists()
    place = Path("runs" if own else "../runs")
    with (source / "values.csv").open(newline="") as rows:
        names = {row["run"] for row in csv.DictReader(rows)}
    for name in sorted(names):
        run, to = source / place / name, destination / place / name
        to.mkdir(parents=True, exist_ok=True)
        for file_name in ("recipe.json", "options.json", "environment.json", "metrics.jsonl"):
            shutil.copy(run / file_name, to)
        lines = (run / "log.jsonl").read_text().splitlines(keepends=True)
        (to / "log.jsonl").write_text("".join(thinned(lines)))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

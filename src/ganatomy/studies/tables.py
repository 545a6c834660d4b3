"""Results of a study as tables: for pages, as CSV files, and in Markdown."""

import csv
import io
import statistics
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ganatomy.evaluation.metrics import values
from ganatomy.evaluation.result import Evaluation
from ganatomy.evaluation.text import number
from ganatomy.pages.sections import CHARTS
from ganatomy.runs.folder import Row, Run
from ganatomy.studies.certainty import (
    CHANCES,
    CHANCES_NOTE,
    VARIANCE,
    VARIANCE_NOTE,
    chances,
    in_markdown,
    variance_rows,
    variances,
)
from ganatomy.studies.figures import bands
from ganatomy.studies.job import Job
from ganatomy.studies.result import COLUMNS, Finding, StudyResult
from ganatomy.studies.study import ALPHA


class Finished(NamedTuple):
    """A run of a study at the step of its job, read from its folder."""

    job: Job
    evaluation: Evaluation | None
    """evaluation at this step"""
    logs: list[Row]
    grid: Path | None
    """its last sample grid up to the job's step"""
    sessions: list[Row]


def read(job: Job) -> Finished:
    """Read a finished run's folder.

    Raises:
        ValueError: if there is none.
        DamagedError: if one of its files is damaged.
    """
    run, point = Run.open(job.folder), job.point
    grids = [file for step, file in run.grids() if step <= point.step]
    grid = grids[-1] if grids else None
    return Finished(job, point.evaluation(), point.rows(), grid, run.sessions)


def by_condition(runs: Sequence[Finished]) -> dict[str, list[Finished]]:
    """Return the runs of each condition, in the order in which conditions first occur."""
    conditions: dict[str, list[Finished]] = {}
    for run in runs:
        conditions.setdefault(run.job.condition, []).append(run)
    return conditions


def value(run: Finished, name: str) -> float | None:
    """Return a measured value of a run, or None if it has none."""
    return run.evaluation.get(name) if run.evaluation else None


def spread(runs: Sequence[Finished]) -> list[list[tuple[str, str]]]:
    """Return measured values as a table: a head, and a line for each value.

    A cell is the mean over seeds, and their range. Without measured values the table is empty.
    """
    measured = [run.evaluation for run in runs if run.evaluation]
    if not measured:
        return []
    conditions = by_condition(runs)
    heads = [
        ("", ""),
        *((condition, f"seeds: {len(seeds)}") for condition, seeds in conditions.items()),
    ]
    table = [[*heads, ("real", "")]]
    for name in _names(runs):
        found = [
            [v for r in seeds if (v := value(r, name)) is not None] for seeds in conditions.values()
        ]
        real = next((e.real(name) for e in measured if name in e), 0)
        table.append([(measured[0].head(name), ""), *map(_spread, found), (number(real), "")])
    return table


def _spread(values: list[float]) -> tuple[str, str]:
    if not values:
        return "—", ""
    low, high = number(min(values)), number(max(values))
    return number(sum(values) / len(values)), f"{low} to {high}" if low != high else ""


def _names(runs: Sequence[Finished]) -> list[str]:
    """Return the names of all measured values, in the order of METRICS."""
    return [name for name in values() if any(value(run, name) is not None for run in runs)]


def tables(runs: Sequence[Finished], found: StudyResult) -> dict[str, str]:
    """Return the CSV files of a study: name -> text.

    values.csv has a row for each run with every measured value, its interval and its real score,
    verdicts.csv a row for each claim, and curves.csv the lines and bands of the page's curves. With
    several sampling seeds, samplings.csv has the values of claims for each of them, and
    variance.csv their standard deviations by condition.
    """
    again = {
        "samplings.csv": _csv([row for run in runs for row in _sampled(run)]),
        "variance.csv": _csv(variance_rows(found)),
    }
    return {name: text for name, text in again.items() if text} | {
        "values.csv": _csv([_measured(run, _names(runs)) for run in runs]),
        "verdicts.csv": _csv([_finding(finding) for finding in found.claims]),
        "curves.csv": _csv([row for runs in by_condition(runs).values() for row in _curves(runs)]),
    }


def _measured(run: Finished, names: Sequence[str]) -> Row:
    job, row = run.job, run.evaluation.to_dict() if run.evaluation else {"values": {}}
    known = {
        "condition": job.condition,
        "seed": job.seed,
        "run": job.folder.name,
        "key": job.recipe.key,
        "step": job.recipe.training.steps,
    }
    known |= {key: row.get(key) for key in ("protocol", "fingerprint", "n", "real_n")}
    for name in names:
        estimate = row["values"].get(name, {})
        known[name] = estimate.get("value")
        known |= {f"{name}_{part}": estimate.get(part) for part in ("low", "high", "real")}
    return known


def _sampled(run: Finished) -> Iterator[Row]:
    """Yield the values that every sampling seed of a run has, if there are several."""
    found = run.job.point.evaluations()
    names = [name for name in values() if all(name in e for e in found.values())]
    for seed, evaluation in found.items() if len(found) > 1 else ():
        known = {"condition": run.job.condition, "seed": run.job.seed, "sampling_seed": seed}
        for name in names:
            yield known | {"metric": name, "value": evaluation[name]}


def _finding(finding: Finding) -> Row:
    claim, conditions = finding.claim, finding.groups()
    means = [sum(numbers) / len(numbers) for numbers in conditions.values()]
    listed = {"conditions": conditions, "reported": claim.reported, "means": means}
    known, kept = finding.to_dict(), {"claim", "numbers", "measure", "variance"}
    return {
        **{
            name: getattr(claim, name)
            for name in ("id", "text", "metric", "direction", "to", "value")
        },
        **{name: " → ".join(map(str, values)) for name, values in listed.items()},
        **{name: value for name, value in known.items() if name not in kept},
    }


def _curves(runs: Sequence[Finished]) -> list[Row]:
    series = {field: bands([run.logs for run in runs], field) for field, *_ in CHARTS}
    rows = []
    for i, step in enumerate(next(iter(series.values())).x):
        row: Row = {"condition": runs[0].job.condition, "seeds": len(runs), "step": step}
        for field, line in series.items():
            row |= {field: line.mean[i], f"{field}_least": line.low[i]}
            row |= {f"{field}_most": line.high[i]}
        rows.append(row)
    return rows


def _csv(rows: Sequence[dict[str, Any]]) -> str:
    """Write rows with the same keys; None is an empty cell."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerows([list(rows[0]), *(list(row.values()) for row in rows)] if rows else [])
    return file.getvalue()


def markdown(found: StudyResult, command: str) -> str:
    """Write the verdicts of a study as a Markdown page."""
    where, real = found.environment, number(found.real)
    steps = _inert(length(found.steps))
    scale = "" if found.scale == 1 else f", {found.scale:g} of the study's length"
    lines = [[_inert(text) for text in line] for line in found.table()]
    rows = in_markdown(COLUMNS, lines)
    runs = ", ".join(f"{_inert(condition)} {n}" for condition, n in found.seeds.items())
    return f"""# {_inert(found.study)}

{_inert(found.question)}

{rows}

*Change* is the mean of the last condition minus the mean of the first, with its 95 % interval (BCa
bootstrap over three or more seeds). *p* is the p-value of the observed direction: a permutation
test over seeds, with Holm's correction for {len(found.claims)} claims. A claim is supported, or
refuted, if it is at most {ALPHA}. Reported numbers were measured in other ways, so only their
direction can be compared.
{_certainty(found)}
{_checklist(found)}Seeds: {runs}. Steps of each run: {steps}{scale}. Measured under
{found.protocol} `{found.fingerprint}`, where real images have an FD of {real}.

    {command}

{where["cpu"]}, {where["cores"]} cores; Python {where["python"]}, PyTorch {where["torch"]},
ganatomy {where["ganatomy"]}. Figures, samples and the protocol are on [the page](page.html), and
all numbers in `verdicts.json` and the CSV files.
"""


def _checklist(found: StudyResult) -> str:
    """Write the reproducibility checklist in Markdown."""
    lines = [f"- **{item}.** {_inert(answer)}" for item, answer in found.checklist.items()]
    return "Reproducibility checklist:\n\n" + "\n".join(lines) + "\n\n" if lines else ""


def _certainty(found: StudyResult) -> str:
    """Write the tables of variance and power in Markdown."""
    split = [[_inert(text) for text in line] for line in variances(found)]
    table = f"\n{in_markdown(VARIANCE, split)}\n\n{textwrap.fill(VARIANCE_NOTE, 100)}\n"
    likely = [[_inert(text) for text in line] for line in chances(found)]
    notes = textwrap.fill(CHANCES_NOTE, 100)
    return f"{table if split else ''}\n{in_markdown(CHANCES, likely)}\n\n{notes}\n"


def length(steps: Mapping[str, int]) -> str:
    """Write the steps of a run: the most common number, then conditions with other numbers."""
    usual = statistics.mode(steps.values())
    others = ", ".join(f"{condition} {n:,}" for condition, n in steps.items() if n != usual)
    return f"{usual:,} ({others})" if others else f"{usual:,}"


def _inert(text: str) -> str:
    """Escape text that would end the line or cell of a table, or open a tag."""
    return " ".join(text.replace("|", "\\|").replace("<", "&lt;").split())

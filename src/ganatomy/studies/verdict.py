"""Verdicts: what the runs of a study say of each of its claims, and how surely."""

import dataclasses
import itertools
import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from ganatomy.evaluation import statistics
from ganatomy.evaluation.evaluate import measured, protocol_of, title
from ganatomy.evaluation.protocol import require_same
from ganatomy.evaluation.tables import number
from ganatomy.gan.machine import environment
from ganatomy.pages.comparison import CHARTS
from ganatomy.runs.folder import Row, Run
from ganatomy.studies.claim import WINDOW, Claim
from ganatomy.studies.study import ALPHA, Job, Study, needed, numbers

Verdict = Literal["supported", "refuted", "undecided"]


class Finding(NamedTuple):
    """What runs say of a claim."""

    claim: Claim
    numbers: list[list[list[float]]]
    """for each row of conditions, for each condition, for each seed"""
    effect: float
    """mean of the last condition minus mean of the first, over rows; with one condition, mean minus
    value"""
    low: float
    high: float
    """its 95 % interval; infinite if there are too few runs for one"""
    superiority: float
    """chance that a run of the last condition is above one of the first"""
    p: float
    """of the direction claimed, after Holm's correction over the study's claims"""
    p_opposite: float
    """of the other direction, so corrected too"""
    verdict: Verdict
    seeds_needed: int
    """with which p could be small enough at all"""


def decide(claims: Sequence[Claim], found: Sequence[list[list[list[float]]]]) -> list[Finding]:
    """Give a verdict on each claim of a study from its numbers by row, condition and seed.

    Supported: p of the direction claimed is at most ALPHA after Holm's correction. Refuted: that
    of the other direction is. Else undecided.
    """
    tests = [_test(claim, groups) for claim, groups in zip(claims, found, strict=True)]
    ways = [
        statistics.holm([(fall, rise)[c.direction == "rises"] for c, (fall, rise) in both])
        for both in (
            list(zip(claims, tests, strict=True)),
            [(_turned(c), t) for c, t in zip(claims, tests, strict=True)],
        )
    ]
    return [
        _finding(claim, groups, p, against, len(claims))
        for claim, groups, p, against in zip(claims, found, *ways, strict=True)
    ]


def _test(claim: Claim, rows: list[list[list[float]]]) -> tuple[float, float]:
    """P of falling and of rising."""
    if claim.value is None:
        return statistics.permutation(rows)
    return statistics.sign_flips(
        [number - claim.value for (condition,) in rows for number in condition]
    )


def _turned(claim: Claim) -> Claim:
    return dataclasses.replace(claim, direction="falls" if claim.direction == "rises" else "rises")


def _finding(
    claim: Claim, rows: list[list[list[float]]], p: float, against: float, claims: int
) -> Finding:
    last = [conditions[-1] for conditions in rows]
    first = [conditions[0] for conditions in rows]
    if claim.value is not None:
        first = [[claim.value] * len(values) for values in last]
    verdict: Verdict = "undecided"
    if p <= ALPHA:
        verdict = "supported"
    elif against <= ALPHA:
        verdict = "refuted"
    effect = statistics.gap(first, last)
    above = statistics.superiority(first, last)
    return Finding(claim, rows, *effect, above, p, against, verdict, needed(claim, claims))


def verdicts(study: Study, done: Sequence[Job], scale: float) -> dict[str, Any]:
    """Judge a study's claims from its finished runs, as JSON knows it.

    Raises:
        ValueError: if a condition has no run yet, or runs were measured by unlike protocols.
    """
    for condition in {name for claim in study.claims for name in itertools.chain(*claim.rows)}:
        if not any(job.condition == condition for job in done):
            raise ValueError(f"condition {condition} of {study.name} has no finished run yet")
    rows = [(job.folder.name, measured(Run.open(job.folder))[-1]) for job in done]
    require_same((name, protocol_of(row)) for name, row in rows)
    findings = decide(study.claims, [numbers(claim, done) for claim in study.claims])
    row = rows[0][1]
    return {
        "study": study.name,
        "question": study.question,
        "steps": study.lengths(scale),
        "scale": scale,
        "seeds": {c: sum(job.condition == c for job in done) for c in study.conditions},
        "protocol": row["protocol"],
        "fingerprint": row["fingerprint"],
        "real": row["values"]["fd"]["real"],
        "environment": environment(),
        "claims": [
            _plain(finding) | {"measure": measure(finding.claim, row)} for finding in findings
        ],
    }


def measure(claim: Claim, row: Row) -> str:
    """Name what a claim's numbers are, as its measured row does; after a semicolon, how exactly."""
    kind, _, name = claim.metric.rpartition(":")
    known = {field: text for field, text, *_ in CHARTS}
    text = {
        "share": f"share of samples of class {name}",
        "walk": f"largest over mean step, {name}",
        "jump": f"jumps of {known.get(name, name)}",
        "mean": known.get(name, name),
    }.get(kind) or title(name, row)
    if claim.to is not None:
        text += f", distance from {claim.to:g}"
    return text + (f"; mean of the last {100 * WINDOW:g} % of rows" if kind == "mean" else "")


def _plain(finding: Finding) -> dict[str, Any]:
    plain = finding._asdict() | {"claim": dataclasses.asdict(finding.claim)}
    return {k: None if isinstance(v, float) and math.isinf(v) else v for k, v in plain.items()}


def lines(found: dict[str, Any]) -> list[list[str]]:
    """Write verdicts for people, under COLUMNS."""
    return [_line(claim) for claim in found["claims"]]


COLUMNS = ("claim", "measure", "reported", "ours", "change", "p", "verdict")
"""Of a table of verdicts."""


def _line(found: dict[str, Any]) -> list[str]:
    claim = found["claim"]
    rows = [[sum(values) / len(values) for values in row] for row in found["numbers"]]
    means = [sum(condition) / len(condition) for condition in zip(*rows, strict=True)]
    if claim["value"] is not None:
        means.append(claim["value"])
    ends = ""
    if found["low"] is not None:
        ends = f" [{number(found['low'])}, {number(found['high'])}]"
    verdict = found["verdict"]
    if verdict == "undecided" and found["seeds_needed"] > len(found["numbers"][0][0]):
        verdict += f"; needs {found['seeds_needed']} seeds"
    reported = " → ".join(number(value) for value in claim["reported"])
    ours = " → ".join(map(number, means))
    said = f"{claim['id']}: {claim['text']}"
    if len(rows) > 1:
        said += f" (pooled over {len(rows)} settings)"
    what = found["measure"].partition(";")[0]
    change = f"{number(found['effect'])}{ends}"
    p = min(found["p"], found["p_opposite"])
    shown = f"{p:.3f}" if p >= 0.001 else "< 0.001"
    return [said, what, reported or "—", ours, change, shown, verdict]

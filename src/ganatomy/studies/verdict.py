"""Verdicts: the result of a study for each of its claims, with its p-value."""

import dataclasses
import html
import itertools
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ganatomy.evaluation import statistics
from ganatomy.evaluation.evaluate import measured
from ganatomy.evaluation.protocol import require_same
from ganatomy.evaluation.result import Evaluation
from ganatomy.evaluation.text import html_table, number, text_table
from ganatomy.gan.machine import environment
from ganatomy.pages.sections import CHARTS
from ganatomy.runs.folder import Run
from ganatomy.studies.claim import WINDOW, Claim, value_of
from ganatomy.studies.study import ALPHA, Job, Study, needed
from ganatomy.validation import from_dict

Verdict = Literal["supported", "refuted", "undecided"]

Numbers = Sequence[Sequence[Sequence[float]]]
"""The numbers of a claim by row of conditions, condition and seed."""


@dataclass(frozen=True)
class Finding:
    """The result of a study for one claim."""

    claim: Claim
    numbers: Numbers
    effect: float
    """mean of the last condition minus mean of the first, over rows; with one condition, mean minus
    value"""
    low: float | None
    """lower end of the 95 % interval of effect; None for fewer than three seeds"""
    high: float | None
    """upper end of the interval"""
    superiority: float
    """probability, in [0, 1], that a run of the last condition is above a run of the first"""
    p: float
    """p-value of the claimed direction, with Holm's correction over the claims of the study"""
    p_opposite: float
    """p-value of the opposite direction, with the same correction"""
    verdict: Verdict
    seeds_needed: int
    """smallest number of seeds with which the claim can be decided"""
    measure: str = ""
    """name of the quantity, for people; text after a semicolon says how it is averaged"""

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Finding":
        """Read the output of to_dict."""
        return cls(**{**values, "claim": from_dict(Claim, values["claim"])})

    def to_dict(self) -> dict[str, Any]:
        """Return the finding as JSON holds it."""
        return _plain(self)

    def groups(self) -> dict[str, Sequence[float]]:
        """Return the numbers of each condition by seed, in the order of the claim's rows."""
        found: dict[str, Sequence[float]] = {}
        for conditions, row in zip(self.claim.rows, self.numbers, strict=True):
            for condition, seeds in zip(conditions, row, strict=True):
                found.setdefault(condition, seeds)
        return found

    def line(self) -> list[str]:
        """Return the finding as a line of a table with COLUMNS."""
        claim = self.claim
        rows = [[sum(values) / len(values) for values in row] for row in self.numbers]
        means = [sum(condition) / len(condition) for condition in zip(*rows, strict=True)]
        if claim.value is not None:
            means.append(claim.value)
        interval = "" if self.low is None else f" [{number(self.low)}, {number(self.high)}]"
        verdict: str = self.verdict
        if verdict == "undecided" and self.seeds_needed > len(self.numbers[0][0]):
            verdict += f"; needs {self.seeds_needed} seeds"
        text = f"{claim.id}: {claim.text}"
        if len(rows) > 1:
            text += f" (pooled over {len(rows)} settings)"
        p = min(self.p, self.p_opposite)
        return [
            text,
            self.measure.partition(";")[0],
            " → ".join(map(number, claim.reported)) or "—",
            " → ".join(map(number, means)),
            f"{number(self.effect)}{interval}",
            f"{p:.3f}" if p >= 0.001 else "< 0.001",
            verdict,
        ]


COLUMNS = ("claim", "metric", "reported", "ours", "change", "p", "verdict")
"""Columns of a table of findings."""


@dataclass(frozen=True, repr=False)
class StudyResult:
    """The findings of a study, with the settings and the machine that gave them."""

    study: str
    """name of the study"""
    question: str
    steps: Mapping[str, int]
    """training steps of each condition"""
    scale: float
    """factor in (0, 1] by which the study's steps were multiplied"""
    seeds: Mapping[str, int]
    """number of finished runs of each condition"""
    protocol: str
    fingerprint: str
    real: float | None
    """Fréchet distance of held-out real images under the same protocol"""
    environment: Mapping[str, Any]
    """versions and machine of the process that gave the verdicts"""
    claims: tuple[Finding, ...]
    """a finding for each claim, in the order of the study"""
    path: Path | None = None
    """the study's folder"""
    failures: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """reason of each run that failed, by the name of its folder"""

    @property
    def verdicts(self) -> dict[str, Verdict]:
        """The verdict on each claim, by the claim's id."""
        return {finding.claim.id: finding.verdict for finding in self.claims}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "StudyResult":
        """Read the output of to_dict, such as verdicts.json."""
        return cls(**{**values, "claims": tuple(map(Finding.from_dict, values["claims"]))})

    def to_dict(self) -> dict[str, Any]:
        """Return the result as verdicts.json holds it, without path and failures."""
        return _plain(dataclasses.replace(self, path=None), "path", "failures")

    def table(self) -> list[list[str]]:
        """Return a line for each claim, under COLUMNS."""
        return [finding.line() for finding in self.claims]

    def __repr__(self) -> str:
        return f"{self._heading()}\n{text_table(COLUMNS, self.table())}"

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(self._heading())}</p>{html_table(COLUMNS, self.table())}"

    def _heading(self) -> str:
        counts = Counter(finding.verdict for finding in self.claims)
        tally = ", ".join(f"{n} {verdict}" for verdict, n in counts.items())
        where = f" ({self.path / 'page.html'})" if self.path else ""
        return f"{self.study}: {self.question} {tally}{where}"


def decide(claims: Sequence[Claim], found: Sequence[Numbers]) -> list[Finding]:
    """Decide each claim of a study from its numbers by row, condition and seed.

    A claim is supported if the p-value of its direction is at most ALPHA after Holm's correction,
    refuted if the p-value of the opposite direction is, and undecided otherwise.
    """
    tests = [_test(claim, rows) for claim, rows in zip(claims, found, strict=True)]
    ps = statistics.holm([p for p, _ in tests])
    opposites = statistics.holm([opposite for _, opposite in tests])
    return [
        _finding(claim, rows, p, opposite, len(claims))
        for claim, rows, p, opposite in zip(claims, found, ps, opposites, strict=True)
    ]


def _test(claim: Claim, rows: Numbers) -> tuple[float, float]:
    """Return the p-values of the claimed and of the opposite direction."""
    if claim.value is None:
        falls, rises = statistics.permutation(rows)
    else:
        gaps = [value - claim.value for (condition,) in rows for value in condition]
        falls, rises = statistics.sign_flips(gaps)
    return (falls, rises) if claim.direction == "falls" else (rises, falls)


def _finding(claim: Claim, rows: Numbers, p: float, opposite: float, claims: int) -> Finding:
    last = [conditions[-1] for conditions in rows]
    first = [conditions[0] for conditions in rows]
    if claim.value is not None:
        first = [[claim.value] * len(values) for values in last]
    verdict: Verdict = "undecided"
    if p <= ALPHA:
        verdict = "supported"
    elif opposite <= ALPHA:
        verdict = "refuted"
    effect, *ends = statistics.gap(first, last)
    low, high = (None if math.isinf(end) else end for end in ends)
    above = statistics.superiority(first, last)
    return Finding(
        claim, rows, effect, low, high, above, p, opposite, verdict, needed(claim, claims)
    )


def verdicts(study: Study, done: Sequence[Job], scale: float) -> StudyResult:
    """Decide the claims of a study from its finished runs.

    Raises:
        ValueError: if a condition has no finished run, or protocols of runs differ.
    """
    for condition in {name for claim in study.claims for name in itertools.chain(*claim.rows)}:
        if not any(job.condition == condition for job in done):
            raise ValueError(f"condition {condition} of {study.name} has no finished run yet")
    found = [(job.folder.name, measured(Run.open(job.folder))[-1]) for job in done]
    require_same((name, e.protocol) for name, e in found)
    findings = decide(study.claims, [numbers(claim, done) for claim in study.claims])
    first = found[0][1]
    return StudyResult(
        study=study.name,
        question=study.question,
        steps=study.lengths(scale),
        scale=scale,
        seeds={c: sum(job.condition == c for job in done) for c in study.conditions},
        protocol=first.protocol.name,
        fingerprint=first.fingerprint,
        real=first.real("fd"),
        environment=environment(),
        claims=tuple(
            dataclasses.replace(finding, measure=measure(finding.claim, first))
            for finding in findings
        ),
    )


def numbers(claim: Claim, done: Sequence[Job]) -> Numbers:
    """Return the numbers of a claim by row, condition and finished run, in the order of seeds."""
    runs = {
        (job.condition, job.seed): value_of(claim, Run.open(job.folder), job.protocol)
        for job in done
        if job.condition in itertools.chain(*claim.rows)
    }
    return [
        [[n for (name, _), n in sorted(runs.items()) if name == condition] for condition in row]
        for row in claim.rows
    ]


def measure(claim: Claim, evaluation: Evaluation) -> str:
    """Return the name of a claim's quantity; text after a semicolon says how it is averaged."""
    kind, _, name = claim.metric.rpartition(":")
    known = {field: text for field, text, *_ in CHARTS}
    text = {
        "share": f"share of samples of class {name}",
        "interpolation": f"largest over mean step, {name}",
        "jump": f"jumps of {known.get(name, name)}",
        "mean": known.get(name, name),
    }.get(kind) or evaluation.title(name)
    if claim.to is not None:
        text += f", distance from {claim.to:g}"
    return text + (f"; mean of the last {100 * WINDOW:g} % of rows" if kind == "mean" else "")


def _plain(result: Finding | StudyResult, *without: str) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(result)))
    return {name: value for name, value in plain.items() if name not in without}

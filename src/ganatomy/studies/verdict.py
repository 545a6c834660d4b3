"""Verdicts: tests of the claims of a study on the numbers of its runs."""

import dataclasses
import itertools
import math
from collections.abc import Sequence
from typing import Any

from ganatomy.evaluation import statistics
from ganatomy.evaluation.protocol import require_same
from ganatomy.evaluation.result import Evaluation
from ganatomy.gan.machine import environment
from ganatomy.pages.sections import CHARTS
from ganatomy.studies.checklist import checklist
from ganatomy.studies.claim import WINDOW, Claim, values_of
from ganatomy.studies.job import Job
from ganatomy.studies.result import Finding, Numbers, StudyResult, Verdict
from ganatomy.studies.study import ALPHA, Study, needed
from ganatomy.studies.variance import VarianceSplit, pooled, power, seeds_for, split

Sampled = Sequence[Sequence[Sequence[Sequence[float]]]]
"""The numbers of a claim by row of conditions, condition, training seed and sampling seed."""


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
    found = [(job.name, e) for job in done if (e := job.point.evaluation())]
    require_same((name, e.protocol) for name, e in found)
    sampled = [samples(claim, done) for claim in study.claims]
    findings = decide(study.claims, [_means(rows) for rows in sampled])
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
            dataclasses.replace(
                finding,
                measure=measure(finding.claim, first),
                variance=_variance(finding.claim, rows),
                **_planned(finding, len(findings)),
            )
            for finding, rows in zip(findings, sampled, strict=True)
        ),
        checklist=checklist(study, done, scale),
    )


def _variance(claim: Claim, rows: Sampled) -> dict[str, VarianceSplit]:
    """Return the sources of variance of each condition that has two or more seeds of both kinds."""
    found = {}
    for conditions, row in zip(claim.rows, rows, strict=True):
        for condition, runs in zip(conditions, row, strict=True):
            least = min(map(len, runs))
            if least > 1 and len(runs) > 1:
                found[condition] = split([values[:least] for values in runs])
    return found


def _planned(finding: Finding, claims: int) -> dict[str, Any]:
    """Return the power and the seeds for the difference seen, of an undecided claim about pairs."""
    rows = [(row[0], row[-1]) for row in finding.numbers]
    seeds, deviation = len(rows[0][0]), pooled(list(itertools.chain(*rows)))
    pairs = len(finding.claim.conditions) == 2
    if finding.verdict != "undecided" or not pairs or not deviation or not finding.effect:
        return {}
    return {
        "power": power(abs(finding.effect) / deviation, seeds, claims, len(rows)),
        "seeds_for_effect": seeds_for(finding.effect, deviation, claims, len(rows)),
    }


def numbers(claim: Claim, done: Sequence[Job]) -> Numbers:
    """Return the numbers of a claim by row, condition and finished run, in the order of seeds.

    The number of a run is the mean over its sampling seeds.
    """
    return _means(samples(claim, done))


def _means(rows: Sampled) -> Numbers:
    return [[[sum(run) / len(run) for run in runs] for runs in row] for row in rows]


def samples(claim: Claim, done: Sequence[Job]) -> Sampled:
    """Return the numbers of a claim by row, condition, finished run and sampling seed."""
    runs = {
        (job.condition, job.seed): values_of(claim, job.point)
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
        "fluctuation": f"fluctuation of {known.get(name, name)}",
        "mean": known.get(name, name),
    }.get(kind) or evaluation.title(name)
    if claim.to is not None:
        text += f", distance from {claim.to:g}"
    return text + (f"; mean of the last {100 * WINDOW:g} % of rows" if kind == "mean" else "")

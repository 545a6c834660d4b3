"""Results of a study: a finding for each claim, and the settings that all of them share."""

import dataclasses
import html
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ganatomy.evaluation.text import html_table, number, text_table
from ganatomy.pages.page import Page
from ganatomy.studies.claim import Claim
from ganatomy.studies.variance import VarianceSplit
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
    variance: Mapping[str, VarianceSplit] = dataclasses.field(default_factory=dict)
    """what training again and sampling again change, by condition; empty without two seeds of
    both"""
    power: float | None = None
    """probability that such a study finds the difference seen, if it is the true one; of undecided
    claims about two conditions only"""
    seeds_for_effect: int | None = None
    """seeds of each condition that find it with a probability of 0.8; None also if more than 100"""

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Finding":
        """Read the output of to_dict."""
        known = values.get("variance", {}).items()
        variance = {name: VarianceSplit.from_dict(split) for name, split in known}
        claim = from_dict(Claim, values["claim"])
        kept = {name: value for name, value in values.items() if name != "improvement"}
        return cls(**{**kept, "claim": claim, "variance": variance})

    def to_dict(self) -> dict[str, Any]:
        """Return the finding as JSON holds it."""
        variance = {name: split.to_dict() for name, split in self.variance.items()}
        plain = _plain(dataclasses.replace(self, variance={}))
        return plain | {"improvement": self.improvement, "variance": variance}

    @property
    def improvement(self) -> float:
        """Probability of improvement (Agarwal et al. 2021, arXiv 2108.13264).

        It is that of a run of the last condition to be beyond one of the first, in the claimed
        direction.
        """
        return 1 - self.superiority if self.claim.direction == "falls" else self.superiority

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
    checklist: Mapping[str, str] = dataclasses.field(default_factory=dict, compare=False)
    """the reproducibility checklist: item to answer; its times are not a part of the result"""
    path: Path | None = None
    """the study's folder"""
    failures: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """reason of each run that failed, by the name of its folder"""

    @property
    def verdicts(self) -> dict[str, Verdict]:
        """The verdict on each claim, by the claim's id."""
        return {finding.claim.id: finding.verdict for finding in self.claims}

    @property
    def page(self) -> Page:
        """The page of the study, read from its folder."""
        if self.path is None:
            raise ValueError("this result has no folder, so it has no page")
        return Page((self.path / "page.html").read_text(encoding="utf-8"))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "StudyResult":
        """Read the output of to_dict, such as verdicts.json."""
        return cls(**{**values, "claims": tuple(map(Finding.from_dict, values["claims"]))})

    def to_dict(self) -> dict[str, Any]:
        """Return the result as verdicts.json holds it, without path and failures."""
        claims = [finding.to_dict() for finding in self.claims]
        plain = _plain(dataclasses.replace(self, path=None, claims=()), "path", "failures")
        return plain | {"claims": claims}

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


def _plain(result: Finding | StudyResult, *without: str) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(result)))
    return {name: value for name, value in plain.items() if name not in without}

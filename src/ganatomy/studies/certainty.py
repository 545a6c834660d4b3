"""How certain the numbers of a study are, as tables: two sources of variance, and power."""

from collections.abc import Iterator, Sequence

from ganatomy.evaluation.text import interval, number
from ganatomy.runs.folder import Row
from ganatomy.studies.result import Finding, StudyResult
from ganatomy.studies.variance import POWER, VarianceSplit

VARIANCE = (
    "metric",
    "condition",
    "seeds",
    "mean",
    "interquartile mean",
    "SD of training",
    "SD of sampling",
    "ratio",
    "variation",
)
"""Columns of variances."""

CHANCES = ("claim", "probability of improvement", "power", "seeds for this difference")
"""Columns of chances."""

VARIANCE_NOTE = (
    "Each run was measured with several sampling seeds, and a claim's number is the mean over "
    "them. Seeds: training seeds × sampling seeds. SD of training: standard deviation that "
    "training again with another seed adds. SD of sampling: standard deviation of sampling again "
    "from the same weights. Ratio: of the first to the second, with its 95 % interval for normal "
    "values. Variation: coefficient of variation, the standard deviation of one value of one run "
    "divided by the mean."
)
"""What the columns of variances are."""

CHANCES_NOTE = (
    "Probability of improvement: of a run of the last condition, to be beyond a run of the first "
    "one, or beyond the claimed value, in the claimed direction. Power, of undecided claims about "
    "two conditions: the probability that as many seeds decide, if the difference seen is the true "
    f"one; and the seeds of each condition that decide then with a probability of {POWER:g}."
)
"""What the columns of chances are."""


def variances(found: StudyResult) -> list[list[str]]:
    """Return a line for each measured quantity of claims and condition, under VARIANCE."""
    return [
        [
            measure,
            condition,
            f"{split.seeds} × {split.samplings}",
            *map(number, (split.mean, split.interquartile_mean, split.training, split.sampling)),
            f"{_ratio(split.ratio)} {interval(split.low, split.high)}".replace("inf", "∞"),
            _ratio(split.variation),
        ]
        for measure, condition, split in _splits(found)
    ]


def variance_rows(found: StudyResult) -> list[Row]:
    """Return the same with all digits; None is infinite."""
    return [
        {"metric": measure, "condition": condition, **split.to_dict()}
        for measure, condition, split in _splits(found)
    ]


def chances(found: StudyResult) -> list[list[str]]:
    """Return a line for each claim, under CHANCES."""
    return [
        [finding.claim.id, number(finding.improvement), number(finding.power), _seeds(finding)]
        for finding in found.claims
    ]


def _splits(found: StudyResult) -> Iterator[tuple[str, str, VarianceSplit]]:
    """Yield each quantity and condition once."""
    known = {
        (finding.measure.partition(";")[0], condition): split
        for finding in found.claims
        for condition, split in finding.variance.items()
    }
    for (measure, condition), split in known.items():
        yield measure, condition, split


def _ratio(value: float) -> str:
    return "∞" if value == float("inf") else number(value)


def _seeds(finding: Finding) -> str:
    if finding.power is None:
        return "—"
    return "> 100" if finding.seeds_for_effect is None else str(finding.seeds_for_effect)


def in_markdown(columns: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Write a table in Markdown; cells have no line ends, bars or tags."""
    rows = [columns, ["---"] * len(columns), *lines]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)

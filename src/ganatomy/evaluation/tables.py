"""Several evaluations in one table; never two protocols in one comparison."""

from collections.abc import Sequence

from ganatomy.evaluation.metrics import value
from ganatomy.evaluation.protocol import PROTOCOLS, require_same
from ganatomy.evaluation.result import Evaluation
from ganatomy.evaluation.text import interval, number
from ganatomy.figures.charts import Series

MAIN = ("fd", "score", "precision", "recall", "coverage", "missing")
"""Values that a table of several evaluations has room for."""

Table = tuple[list[str], list[list[str]]]
"""Heads of columns, and lines of cells."""


def comparable(
    measured: Sequence[tuple[str, Sequence[Evaluation]]],
) -> list[tuple[str, Evaluation]]:
    """Pick from the evaluations of each thing the newest of one protocol that all were measured by.

    Of several such protocols it is the first in PROTOCOLS. Things that were never measured are
    left out.

    Raises:
        ValueError: if there is no such protocol, with both fingerprints.
    """
    there = [(name, found) for name, found in measured if found]
    if not there:
        return []
    shared = set.intersection(*({e.fingerprint for e in found} for _, found in there))
    alike = [
        (name, [e for e in found if e.fingerprint in shared] or found) for name, found in there
    ]
    ranked = [(name, sorted(found, key=_preferred)[-1]) for name, found in alike]
    require_same((name, e.protocol) for name, e in ranked)
    return ranked


def _preferred(e: Evaluation) -> tuple[int, str, int]:
    """Order evaluations by the rank of their protocol, then by step."""
    names = [*PROTOCOLS, e.protocol.name]
    return -names.index(e.protocol.name), e.fingerprint, e.step or 0


def comparison_table(labeled: Sequence[tuple[str, Evaluation]], what: str) -> Table:
    """Return a table of MAIN values: a line for each evaluation, and one for real images.

    Args:
        labeled: name of each evaluation, and the evaluation.
        what: head of the column of names.

    Raises:
        ValueError: for evaluations of different protocols, with both fingerprints.
    """
    require_same((name, e.protocol) for name, e in labeled)
    first = labeled[0][1]
    names = [n for n in MAIN if any(n in e for _, e in labeled)]
    lines = [[label, *(_cell(e, n) for n in names)] for label, e in labeled]
    lines.append(["real", *(number(first.real(n) if n in first else None) for n in names)])
    return [what, *map(first.head, names)], lines


def protocols_table(labeled: Sequence[tuple[str, Evaluation]]) -> Table:
    """Return a table with a column for each evaluation, where the protocols are the subject.

    Each head bears its fingerprint; values of two columns must not be compared.
    """
    columns = ["metric", *(f"{name} [{e.fingerprint}]" for name, e in labeled)]
    names = list(dict.fromkeys(name for _, e in labeled for name in e))
    return columns, [
        [value(n).title + value(n).arrow, *(_cell(e, n) for _, e in labeled)] for n in names
    ]


def series(evaluations: Sequence[Evaluation], name: str) -> Series:
    """Return a value of several evaluations by step, with its intervals."""
    found = [(e.step or 0, e.score(name)) for e in evaluations if name in e]
    return Series(
        [float(step) for step, _ in found],
        [score.value for _, score in found],
        [score.value if score.low is None else score.low for _, score in found],
        [score.value if score.high is None else score.high for _, score in found],
    )


def _cell(e: Evaluation, name: str) -> str:
    if name not in e:
        return "—"
    score = e.score(name)
    ends = interval(score.low, score.high).replace(", ", ",") if name == "fd" else ""  # 80 columns
    return f"{number(score.value)} {ends}".strip()

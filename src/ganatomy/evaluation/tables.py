"""Measured rows as tables: values beside interval and floor, never two protocols in one."""

from collections.abc import Sequence
from typing import Any

from ganatomy.evaluation.evaluate import protocol_of, title
from ganatomy.evaluation.metrics import VALUES
from ganatomy.evaluation.protocol import PROTOCOLS, require_same
from ganatomy.figures.charts import Series
from ganatomy.runs.folder import Row

COLUMNS = ("measure", "value", "95 % interval", "real", "better")
"""Of a table of one measurement."""

MAIN = ("fd", "score", "precision", "recall", "coverage", "missing")
"""Values that fit beside each other when several measurements are compared."""


def heading(row: Row) -> str:
    """Say how a row was measured, in a line or two."""
    settings = row["settings"]
    real = (
        f"floor: {row['real_n']:,} real images kept back"
        if row["real_n"]
        else "no real images were kept back, so there is no floor"
    )
    step = f"step {row['step']:,}, " if "step" in row else ""
    return (
        f"{step}{row['protocol']} [{row['fingerprint']}]: {row['n']:,} samples against "
        f"{settings['dataset']} ({settings['split']}), {row['dim']:,} features of "
        f"{settings['features']}; {real}"
    )


def one(row: Row) -> list[list[str]]:
    """Write a row's values for people, under COLUMNS."""
    lines = []
    for name, value in row["values"].items():
        std = f" ± {number(value['std'])}" if value["std"] is not None else ""
        lines.append(
            [
                title(name, row),
                number(value["value"]) + std,
                interval_text(value),
                number(value["real"]),
                VALUES[name].better,
            ]
        )
    return lines


def comparable(measured: Sequence[tuple[str, Sequence[Row]]]) -> list[tuple[str, Row]]:
    """Pick from each thing's measured rows the newest of one protocol that all were measured by.

    Of several such protocols it is the first in PROTOCOLS. Things that were never measured are
    left out.

    Raises:
        ValueError: if there is no such protocol, with both fingerprints.
    """
    there = [(name, rows) for name, rows in measured if rows]
    if not there:
        return []
    shared = set.intersection(*({row["fingerprint"] for row in rows} for _, rows in there))
    alike = [
        (name, [r for r in rows if r["fingerprint"] in shared] or rows) for name, rows in there
    ]
    ranked = [(name, sorted(rows, key=_preferred)[-1]) for name, rows in alike]
    require_same((name, protocol_of(row)) for name, row in ranked)
    return ranked


def _preferred(row: Row) -> tuple[int, str, int]:
    """Order rows by the rank of their protocol, then by step."""
    names = [*PROTOCOLS, row["protocol"]]
    return -names.index(row["protocol"]), row["fingerprint"], row["step"]


def many(labelled: Sequence[tuple[str, Row]], what: str) -> tuple[list[str], list[list[str]]]:
    """Set the MAIN values of rows below each other: the columns, a line for each, and the floor.

    Args:
        labelled: what each row is called, and the row.
        what: the kind of thing that the names name, the first column's heading.

    Raises:
        ValueError: for rows that were not measured alike, with both fingerprints.
    """
    require_same((name, protocol_of(row)) for name, row in labelled)
    first = labelled[0][1]
    names = [n for n in MAIN if any(n in row["values"] for _, row in labelled)]
    lines = [[label, *(_cell(row, n) for n in names)] for label, row in labelled]
    real_scores = (first["values"].get(n, {}).get("real") for n in names)
    lines.append(["real", *map(number, real_scores)])
    return [what, *(title(n, first) for n in names)], lines


def unlike(labelled: Sequence[tuple[str, Row]]) -> tuple[list[str], list[list[str]]]:
    """Set rows of different protocols side by side, for where the protocol itself is the subject.

    Each column bears its fingerprint; values of two columns are not to be compared.
    """
    columns = ["measure", *(f"{name} [{row['fingerprint']}]" for name, row in labelled)]
    names = list(dict.fromkeys(name for _, row in labelled for name in row["values"]))
    lines = [[VALUES[n].title, *(_cell(row, n) for _, row in labelled)] for n in names]
    return columns, lines


def series(rows: Sequence[Row], name: str) -> Series:
    """Turn a value of rows into a line by step with its intervals around it."""
    values = [(row["step"], row["values"][name]) for row in rows if name in row["values"]]
    return Series(
        [float(step) for step, _ in values],
        [value["value"] for _, value in values],
        [value["low"] for _, value in values],
        [value["high"] for _, value in values],
    )


def _cell(row: Row, name: str) -> str:
    value = row["values"].get(name)
    if value is None:
        return "—"
    ends = interval_text(value).replace(", ", ",") if name == "fd" else ""  # for 80 columns
    return f"{number(value['value'])} {ends}".strip()


def interval_text(value: dict[str, Any]) -> str:
    """Write an interval, or nothing where there is none."""
    if value["low"] is None:
        return ""
    return f"[{number(value['low'])}, {number(value['high'])}]"


def number(value: float | None) -> str:
    """Write a value with three significant digits, whole numbers whole, and a dash for none."""
    if value is None:
        return "—"
    if value == round(value) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 1e-3 else f"{value:.1e}"

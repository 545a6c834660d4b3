"""Measured rows as tables: values beside interval and floor, never two protocols in one."""

from collections.abc import Sequence
from typing import Any

from ganatomy.evaluate import protocol_of, title
from ganatomy.metrics import VALUES
from ganatomy.protocol import require_same
from ganatomy.runs import Row

COLUMNS = ("measure", "value", "95 % interval", "floor", "better")
"""Of a table of one measurement."""

MAIN = ("fd", "kid", "score", "precision", "recall", "coverage", "diversity", "missing")
"""Values that fit beside each other when several measurements are compared."""


def heading(row: Row) -> str:
    """Say how a row was measured, in a line or two."""
    settings = row["settings"]
    floor = (
        f"floor: {row['floor_n']:,} real pictures kept back"
        if row["floor_n"]
        else "no real pictures were kept back, so there is no floor"
    )
    step = f"step {row['step']:,}, " if "step" in row else ""
    return (
        f"{step}{row['protocol']} [{row['fingerprint']}]: {row['n']:,} samples against "
        f"{settings['dataset']} ({settings['split']}), {row['dim']:,} features of "
        f"{settings['features']}; {floor}"
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
                between(value),
                number(value["floor"]),
                VALUES[name].better,
            ]
        )
    return lines


def comparable(measured: Sequence[tuple[str, Sequence[Row]]]) -> list[tuple[str, Row]]:
    """Pick from each thing's measured rows the newest of one protocol that all were measured by.

    Of several such protocols it is the one that the first thing was measured by last. Things
    that were never measured are left out.

    Raises:
        ValueError: if there is no such protocol, with both fingerprints.
    """
    there = [(name, rows) for name, rows in measured if rows]
    if not there:
        return []
    shared = set.intersection(*({row["fingerprint"] for row in rows} for _, rows in there))
    newest = [
        (name, _newest(rows, shared or {r["fingerprint"] for r in rows})) for name, rows in there
    ]
    if shared:
        one_of_them = newest[0][1]["fingerprint"]
        newest = [(name, _newest(rows, {one_of_them})) for name, rows in there]
    require_same((name, protocol_of(row)) for name, row in newest)
    return newest


def _newest(rows: Sequence[Row], fingerprints: set[str]) -> Row:
    return max((r for r in rows if r["fingerprint"] in fingerprints), key=lambda r: r["step"])


def many(
    labelled: Sequence[tuple[str, Row]], what: str, alike: bool = True
) -> tuple[list[str], list[list[str]]]:
    """Set the MAIN values of rows side by side: the columns, and a line for each and the floor.

    Args:
        labelled: what each row is called, and the row.
        what: the kind of thing that the names name, the first column's heading.
        alike: refuse rows of different protocols. False is for tables whose very subject is the
            protocol; each line then bears its fingerprint.

    Raises:
        ValueError: for rows that were not measured alike, with both fingerprints.
    """
    if alike:
        require_same((name, protocol_of(row)) for name, row in labelled)
    first = labelled[0][1]
    names = [n for n in MAIN if any(n in row["values"] for _, row in labelled)]
    columns = [what, *([] if alike else ["fingerprint"]), *(title(n, first) for n in names)]
    lines = [
        [label, *([] if alike else [row["fingerprint"]]), *(_cell(row, n) for n in names)]
        for label, row in labelled
    ]
    if alike:
        floors = (first["values"].get(n, {}).get("floor") for n in names)
        lines.append(["floor", *map(number, floors)])
    return columns, lines


def _cell(row: Row, name: str) -> str:
    value = row["values"].get(name)
    if value is None:
        return "—"
    return f"{number(value['value'])} {between(value) if name == 'fd' else ''}".strip()


def between(value: dict[str, Any]) -> str:
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

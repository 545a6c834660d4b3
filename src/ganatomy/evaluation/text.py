"""Numbers and tables as text."""

import html
from collections.abc import Iterable, Sequence


def number(value: float | None) -> str:
    """Write a value with three significant digits, whole numbers whole, and a dash for None."""
    if value is None:
        return "—"
    if value == round(value) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 1e-3 else f"{value:.1e}"


def interval(low: float | None, high: float | None) -> str:
    """Write an interval as [low, high], or nothing if it has no ends."""
    return "" if low is None else f"[{number(low)}, {number(high)}]"


def text_table(columns: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Write a table in columns of equal width."""
    rows = [columns, *lines]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    padded = (map(str.ljust, row, widths) for row in rows)
    return "\n".join("  ".join(row).rstrip() for row in padded)


def html_table(columns: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Write a table as an HTML element, with its cells escaped."""
    rows = ["".join(f"<td>{html.escape(cell)}</td>" for cell in line) for line in lines]
    head = "".join(f"<th>{html.escape(column)}</th>" for column in columns)
    return f"<table><tr>{head}</tr>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>"

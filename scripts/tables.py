"""Markdown tables that scripts write into pages of docs, between markers."""

import math
from collections.abc import Sequence
from pathlib import Path

from ganatomy.gan.machine import environment

DOCS = Path(__file__).parent.parent / "docs"


def number(value: float) -> str:
    """Write a value with three digits, values up to a millionth as 0, and NaN as a dash."""
    if math.isnan(value):
        return "—"
    if 1000 <= abs(value) < 1e6:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) > 1e-6 else "0"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def machine() -> str:
    """Return the machine and the versions, as a line."""
    on = environment()
    return (
        f"{on['cpu']}, {on['cores']} cores, {on['threads']} used; Python {on['python']}, "
        f"PyTorch {on['torch']}, ganatomy {on['ganatomy']}."
    )


def put(text: str, page: str) -> None:
    """Put a text between the markers of a page of docs.

    Raises:
        ValueError: if the page does not have each of them once.
    """
    path, begin, end = DOCS / page, "<!-- tables -->", "<!-- end of tables -->"
    before, rest = path.read_text(encoding="utf-8").split(begin)
    after = rest.split(end)[1]
    path.write_text(f"{before}{begin}\n{text}\n{end}{after}", encoding="utf-8")

"""Output to a terminal: tables, an overview of jobs, one-line errors."""

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ganatomy.gan import launch


class Bar(NamedTuple):
    """A thing that goes on, as an overview shows it."""

    label: str
    done: int
    total: int


@contextlib.contextmanager
def overview(look: Callable[[], tuple[str, Sequence[Bar]]]) -> Iterator[None]:
    """Show, while the block runs, a headline and a bar for each thing that goes on.

    look is called every second. Without a terminal, nothing is shown.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        yield
        return

    def shown() -> RenderableType:
        headline, bars = look()
        lines = Table.grid(padding=(0, 2), expand=True)
        lines.add_column(no_wrap=True)
        lines.add_column(ratio=1)
        lines.add_column(justify="right", no_wrap=True)
        for bar in bars:
            full = ProgressBar(total=bar.total, completed=bar.done)
            lines.add_row(escape(bar.label), full, f"{bar.done:,} of {bar.total:,}")
        return Group(Text(headline, "bold"), lines)

    with Live(get_renderable=shown, console=console, refresh_per_second=1, transient=True):
        yield


def waiting(text: str) -> AbstractContextManager[object]:
    """Show a spinner on standard error, in a terminal only, while the block runs."""
    return Console(stderr=True).status(text)


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table to standard output; cells are plain text."""
    shown = Table(box=None, pad_edge=False)
    for i, column in enumerate(columns):
        shown.add_column(escape(column), style="bold" if i == 0 else "", overflow="fold")
    for row in rows:
        shown.add_row(*map(escape, row))
    Console().print(shown)


def say(text: str) -> None:
    """Print a line to standard output, never wrapped, so that paths in it can be copied."""
    print(text)


def complain(text: str, own: bool = False) -> None:
    """Print one line to standard error; of processes that train together, the first one does.

    Args:
        text: the line.
        own: whether it concerns this process alone, so that it prints it anyway.
    """
    if launch.rank() == 0 or own:
        who = f"process {launch.rank()}: " if launch.rank() > 0 else ""
        print(f"ganatomy: {who}{' '.join(text.split())}", file=sys.stderr)

"""ganatomy compare."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, arg

from ganatomy.cli import terminal
from ganatomy.cli.output import Command


@dataclass(frozen=True, kw_only=True)
class Compare(Command):
    """Compare runs on one page."""

    runs: Annotated[Positional[tuple[Path, ...]], arg(metavar="RUN RUN ...")]
    """two or more run folders"""
    out: Path = Path("compare.html")
    """page to write, an .html file"""

    def call(self) -> Any:
        """Write the page."""
        from ganatomy.api.evaluate import compare

        page = compare(self.runs)
        page.save(self.out)
        return page

    def show(self, result: Any) -> None:
        """Print the tables of the page, and where it is."""
        from ganatomy.pages import comparison

        terminal.table(*comparison.summary_table(result.runs))
        terminal.say("")
        terminal.table(*comparison.fluctuation_table(result.runs))
        if result.evaluations:
            terminal.say("\n" + comparison.protocol_heading(result.evaluations))
            terminal.table(*comparison.score_table(result.evaluations))
        terminal.say(f"\n{self.out.absolute()}")

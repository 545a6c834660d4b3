"""Commands and their output: for a person, or as JSON."""

import json as jsons
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ganatomy.cli import terminal


@dataclass(frozen=True, kw_only=True)
class Command(ABC):
    """A command: its fields are its arguments, and calling it returns the exit code."""

    json: bool = False
    """print the result as JSON"""

    @abstractmethod
    def call(self) -> Any:
        """Do the work with one public function and return its result, which has to_dict()."""

    def show(self, result: Any) -> None:
        """Print a result for a person."""
        if isinstance(result, Listing):
            terminal.table(result.columns, result.rows)
            if result.note:
                terminal.say(result.note)
        else:
            terminal.say(str(result))

    def code(self, result: Any) -> int:
        """Return the exit code: 0, or 1 for a result that is a failure."""
        return 0

    def __call__(self) -> int:
        """Run the command and return its exit code."""
        return self.answer(self.call())

    def answer(self, result: Any) -> int:
        """Print a result and return the exit code."""
        if self.json:
            terminal.say(jsons.dumps(result.to_dict(), indent=2))
        else:
            self.show(result)
        return self.code(result)


@dataclass(frozen=True)
class Listing:
    """Names and their values, as a table and as JSON."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    values: dict[str, Any]
    note: str = ""
    """text below the table"""

    @classmethod
    def of(cls, column: str, values: dict[str, Any], note: str = "") -> "Listing":
        """List one value a row."""
        rows = [(name, str(value)) for name, value in values.items()]
        return cls((column, "value"), rows, values, note)

    def to_dict(self) -> dict[str, Any]:
        """Return the values."""
        return self.values

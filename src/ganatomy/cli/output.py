"""How a command answers: to a person, or as JSON."""

import json as jsons
from collections.abc import Callable
from typing import Any

from ganatomy.cli import terminal


def answer(json: bool, result: dict[str, Any], show: Callable[[], None]) -> int:
    """Print a result as JSON or show it to a person."""
    if json:
        terminal.say(jsons.dumps(result, indent=2))
    else:
        show()
    return 0


def fields_table(left: str, right: str, values: dict[str, Any]) -> None:
    """Print names and their values as a table of two columns."""
    terminal.table((left, right), [(name, str(value)) for name, value in values.items()])

"""ganatomy doctor."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, arg

from ganatomy.cli import terminal
from ganatomy.cli.output import Command


@dataclass(frozen=True, kw_only=True)
class Doctor(Command):
    """Check the installation: hardware, datasets, weights, disk space and a training self-test."""

    name: Annotated[Positional[str], arg(metavar="[NAME|FILE]")] = "mnist-fast"
    """recipe whose disk space is compared with the free space"""
    data_root: Path | None = None
    """folder of full datasets; by default $GANATOMY_DATA or a cache folder"""

    def call(self) -> Any:
        """Check."""
        from ganatomy.training.doctor import doctor

        return doctor(self.name, self.data_root)

    def show(self, result: Any) -> None:
        """Print all entries."""
        terminal.table(("name", "value"), list(result.rows().items()))

    def code(self, result: Any) -> int:
        """Print the problems; 1 if there are any."""
        for name, text in result.problems.items():
            terminal.complain(f"{name}: {text}")
        return int(bool(result.problems))

"""ganatomy protocols."""

from dataclasses import dataclass
from typing import Annotated, Any

from tyro.conf import Positional, arg

from ganatomy.cli.output import Command, Listing
from ganatomy.evaluation.protocol import PROTOCOLS, preset


@dataclass(frozen=True, kw_only=True)
class Protocols(Command):
    """List the protocols of measurements, or print one in full."""

    name: Annotated[Positional[str | None], arg(metavar="[NAME]")] = None
    """protocol to print"""

    def call(self) -> Any:
        """Return the settings."""
        if self.name is not None:
            return Listing.of("setting", preset(self.name).settings)
        values = {n: {"about": p.about} | p.protocol.settings for n, p in PROTOCOLS.items()}
        rows = [(name, entry.about) for name, entry in PROTOCOLS.items()]
        return Listing(("protocol", "about"), rows, values)

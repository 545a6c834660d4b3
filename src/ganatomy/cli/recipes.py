"""ganatomy recipes."""

from dataclasses import dataclass
from typing import Annotated, Any

from tyro.conf import Positional, arg

from ganatomy.cli.output import Command, Listing
from ganatomy.recipes.named import RECIPES, read
from ganatomy.validation import to_dict


@dataclass(frozen=True, kw_only=True)
class Recipes(Command):
    """List the named recipes, or print one in full; its JSON is a recipe file."""

    name: Annotated[Positional[str | None], arg(metavar="[NAME|FILE]")] = None
    """recipe to print; a recipe file works too"""

    def call(self) -> Any:
        """Return the fields of a recipe, or all recipes."""
        if self.name is not None:
            note = RECIPES[self.name].about if self.name in RECIPES else ""
            return Listing.of("field", to_dict(read(self.name)), note)
        rows = [(name, entry.recipe.key, entry.about) for name, entry in RECIPES.items()]
        values = {name: {"about": e.about} | to_dict(e.recipe) for name, e in RECIPES.items()}
        return Listing(("recipe", "key", "about"), rows, values)

"""Commands that say what there is."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from ganatomy.cli import terminal
from ganatomy.cli.output import answer, fields_table
from ganatomy.recipes.named import RECIPES, read
from ganatomy.validation import to_dict


@dataclass(frozen=True, kw_only=True)
class Recipes:
    """List the named recipes, or show one in full."""

    name: Annotated[Positional[str | None], arg(metavar="[NAME|FILE]")] = None
    """the recipe to show; a recipe file works too"""
    json: bool = False
    """print the result as JSON (of one recipe: a recipe file)"""

    def __call__(self) -> int:
        """Run the command."""
        if self.name is not None:
            fields = to_dict(read(self.name))
            if self.name in RECIPES and not self.json:
                terminal.say(RECIPES[self.name].about)
            return answer(self.json, fields, lambda: fields_table("field", "value", fields))
        rows = [(name, entry.recipe.key, entry.about) for name, entry in RECIPES.items()]
        values = {name: {"about": e.about} | to_dict(e.recipe) for name, e in RECIPES.items()}
        return answer(self.json, values, lambda: terminal.table(("recipe", "key", "what"), rows))


@dataclass(frozen=True, kw_only=True)
class Datasets:
    """List the datasets."""

    json: bool = False
    """print the result as JSON"""

    def __call__(self) -> int:
        """Run the command."""
        from ganatomy.data import DATASETS, data_root

        abouts = {name: dataset.about for name, dataset in DATASETS.items()}

        def show() -> None:
            fields_table("dataset", "what", abouts)
            terminal.say(f"\nfull datasets are looked for in {data_root()}")

        return answer(self.json, {"data_root": str(data_root()), "datasets": abouts}, show)


@dataclass(frozen=True, kw_only=True)
class Doctor:
    """Check the installation: hardware, datasets, weights, disk space and a training self-test."""

    name: Annotated[Positional[str], arg(metavar="[NAME|FILE]")] = "mnist-fast"
    """recipe whose disk space is compared with the free space"""
    data_root: Path | None = None
    """folder of full datasets; by default $GANATOMY_DATA or a cache folder"""
    json: bool = False
    """print the result as JSON, for bug reports"""

    def __call__(self) -> int:
        """Run the command."""
        from ganatomy.training.doctor import doctor

        report = doctor(self.name, self.data_root)
        answer(self.json, report.to_dict(), lambda: fields_table("name", "value", report.rows()))
        for name, text in report.problems.items():
            terminal.complain(f"{name}: {text}")
        return int(bool(report.problems))

"""Commands that say what there is."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, arg

from ganatomy import terminal
from ganatomy.commands.answer import answer, fields_table
from ganatomy.fields import to_dict
from ganatomy.recipes import RECIPES, read


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
                terminal.say(RECIPES[self.name][0])
            return answer(self.json, fields, lambda: fields_table("field", "value", fields))
        rows = [(name, recipe.key, about) for name, (about, recipe) in RECIPES.items()]
        values = {name: {"about": about} | to_dict(r) for name, (about, r) in RECIPES.items()}
        return answer(self.json, values, lambda: terminal.table(("recipe", "key", "what"), rows))


@dataclass(frozen=True, kw_only=True)
class Datasets:
    """List the datasets."""

    json: bool = False
    """print the result as JSON"""

    def __call__(self) -> int:
        """Run the command."""
        from ganatomy.data import DATASETS, data_root

        abouts = {name: about for name, (about, _) in DATASETS.items()}

        def show() -> None:
            fields_table("dataset", "what", abouts)
            terminal.say(f"\nfull datasets are looked for in {data_root()}")

        return answer(self.json, {"data_root": str(data_root()), "datasets": abouts}, show)


@dataclass(frozen=True, kw_only=True)
class Doctor:
    """Say what this machine has and what training will use."""

    json: bool = False
    """print the result as JSON, for bug reports"""

    def __call__(self) -> int:
        """Run the command."""
        from ganatomy.data import data_root, mnist
        from ganatomy.features import inception_file
        from ganatomy.machine import environment, keep_memory, native_bf16, pick_device

        root, device = data_root(), pick_device("auto")
        values: dict[str, Any] = environment() | {
            "device": str(device),
            "bf16": "native" if native_bf16(device) else "emulated: use --precision fp32",
            "layout": "channels last",
            "allocator": "keeps what a step frees" if keep_memory() else "as it is",
            "data_root": str(root),
            "mnist": "present" if mnist.present(root) else "absent (mnist10k is part of ganatomy)",
            "inception_weights": "present" if inception_file().exists() else "absent",
            "free_disk_gb": round(shutil.disk_usage(Path.cwd()).free / 1e9, 1),
        }
        return answer(self.json, values, lambda: fields_table("what", "here", values))

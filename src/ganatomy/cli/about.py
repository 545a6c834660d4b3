"""Commands that say what there is."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

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
    """Say what this machine has, whether it is whole, and whether it trains as it should."""

    name: Annotated[Positional[str], arg(metavar="[NAME|FILE]")] = "mnist-fast"
    """a recipe, to compare the disk that it needs with what is free"""
    data_root: Path | None = None
    """folder of full datasets; by default $GANATOMY_DATA or a cache folder"""
    json: bool = False
    """print the result as JSON, for bug reports"""

    def __call__(self) -> int:
        """Run the command."""
        from ganatomy.data import data_root
        from ganatomy.gan.machine import environment, keep_memory, pick_device
        from ganatomy.training import doctor

        root, device = data_root(self.data_root), pick_device("auto")
        trained = doctor.self_test(device)
        free, needed = shutil.disk_usage(Path.cwd()).free, doctor.disk_for(read(self.name))
        values: dict[str, Any] = environment() | {
            "device": str(device),
            "bf16": doctor.bf16(device),
            "layout": "channels last",
            "allocator": "keeps what a step frees" if keep_memory() else "as it is",
            "offline": bool(os.environ.get("GANATOMY_OFFLINE", "") not in ("", "0")),
            "data_root": str(root),
            "datasets": doctor.datasets(root),
            "classifiers": doctor.classifiers(),
            "inception_weights": doctor.inception(),
            "free_disk_gb": round(free / 1e9, 1),
            "disk": f"{'enough' if free > needed else 'too little'} for {self.name}, "
            f"{needed / 1e6:,.0f} MB",
            "self_test": f"{'passed' if trained.as_it_should else 'FAILED'}: 20 steps, "
            f"{trained.seconds:.1f} s, off by {trained.worst:.1g} at most",
        }
        shown = {k: v for k, v in values.items() if not isinstance(v, dict)}
        shown |= {
            f"{k}: {n}": said for k in ("datasets", "classifiers") for n, said in values[k].items()
        }
        answer(self.json, values, lambda: fields_table("what", "here", shown))
        wrong = [k for k, v in shown.items() if str(v).startswith(("damaged", "FAILED", "too"))]
        for name in wrong:
            terminal.complain(f"{name}: {shown[name]}")
        return int(bool(wrong))

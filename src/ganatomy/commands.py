"""The commands: each a class of its arguments that, called, does the work and gives an exit code.

Nothing heavy is imported before a command needs it, so help is there at once. To add one, write
its class and add a line to COMMANDS in cli.py.
"""

import dataclasses
import json as jsons
import math
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import OmitArgPrefixes, Positional, arg

from ganatomy import terminal
from ganatomy.fields import to_dict
from ganatomy.recipe import Options, Recipe
from ganatomy.recipes import RECIPES, read

if TYPE_CHECKING:
    from ganatomy.fit import Tick


@dataclass(frozen=True, kw_only=True)
class Train:
    """Train a recipe; repeat the command to go on with a run that was stopped."""

    name: Annotated[Positional[str], arg(metavar="NAME|FILE")]
    """a named recipe (see: ganatomy recipes), or a .json or .toml file of recipe fields"""
    out: Path | None = None
    """run folder; by default runs/NAME-KEY"""
    dry_run: bool = False
    """say what would be trained, and stop"""
    quiet: bool = False
    """show no progress"""
    json: bool = False
    """print the result as JSON"""
    recipe: OmitArgPrefixes[Recipe] = dataclasses.field(default=RECIPES["basic-gan"][1])
    options: Annotated[OmitArgPrefixes[Options], arg(name="run")] = dataclasses.field(
        default=Options()
    )

    def __call__(self) -> int:
        """Run the command."""
        folder = self.out or Path("runs") / f"{Path(self.name).stem}-{self.recipe.key}"
        if self.dry_run:
            return _plan(self, folder)
        return _run(folder, self.recipe, self, longer=False)


@dataclass(frozen=True, kw_only=True)
class Resume:
    """Go on with a run, to its planned end or to a later one."""

    run: Annotated[Positional[Path], arg(metavar="RUN")]
    """run folder"""
    steps: int | None = None
    """new length of the whole run in steps"""
    epochs: float | None = None
    """new length of the whole run in epochs"""
    quiet: bool = False
    """show no progress"""
    json: bool = False
    """print the result as JSON"""
    options: Annotated[OmitArgPrefixes[Options], arg(name="run")] = dataclasses.field(
        default=Options()
    )

    def __call__(self) -> int:
        """Run the command."""
        from ganatomy.runs import Run

        given = {"steps": self.steps, "epochs": self.epochs}
        length = {name: value for name, value in given.items() if value is not None}
        recipe = Run.open(self.run).recipe
        return _run(self.run, recipe.but(**length), self, longer=True)


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Draw pictures from a run's newest checkpoint."""

    run: Annotated[Positional[Path], arg(metavar="RUN")]
    """run folder"""
    n: int = 64
    """how many"""
    out: Path
    """a .png (one grid) or an .npz (array images, uint8 N x H x W x C)"""
    seed: int = 0
    """decides the latent vectors; the i-th picture depends on seed and i alone"""
    json: bool = False
    """print the result as JSON"""

    def __call__(self) -> int:
        """Run the command."""
        if self.out.suffix not in (".png", ".npz"):
            raise ValueError(f"--out must end in .png or .npz, got {self.out}")
        if self.n < 1 or self.seed < 0:
            raise ValueError(
                f"--n must be at least 1 and --seed at least 0, got {self.n} {self.seed}"
            )
        from ganatomy import latent, pictures
        from ganatomy.runs import Run, replace

        run = Run.open(self.run)
        step, generator = latent.load_generator(run)
        made = latent.generate(generator, self.n, run.recipe.z_dim, self.seed)
        pixels = pictures.to_uint8(made)
        if self.out.suffix == ".npz":
            content = pictures.npz(pixels)
        else:
            content = pictures.png(pictures.grid(pixels, columns=math.ceil(self.n**0.5)))
        replace(self.out, content)
        result = {"out": str(self.out), "n": self.n, "step": step, "seed": self.seed}
        done = f"{self.n} samples of step {step}: {self.out}"
        return _answer(self.json, result, lambda: terminal.say(done))


@dataclass(frozen=True, kw_only=True)
class Compare:
    """Set runs side by side on one page."""

    runs: Annotated[Positional[tuple[Path, ...]], arg(metavar="RUN RUN ...")]
    """two or more run folders"""
    out: Path = Path("compare.html")
    """the page"""
    json: bool = False
    """print the result as JSON"""

    def __call__(self) -> int:
        """Run the command."""
        if len(self.runs) < 2:
            raise ValueError("compare needs two or more run folders")
        from ganatomy import report
        from ganatomy.runs import Run, replace

        runs = [Run.open(path) for path in self.runs]
        rows = report.summary(runs)
        replace(self.out, report.compare(runs).encode())

        def show() -> None:
            terminal.table(report.HEADINGS, map(report.cells, rows))
            terminal.say(f"\n{self.out.absolute()}")

        return _answer(self.json, {"page": str(self.out), "runs": rows}, show)


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
            return _answer(self.json, fields, lambda: _fields_table("field", "value", fields))
        rows = [(name, recipe.key, about) for name, (about, recipe) in RECIPES.items()]
        values = {name: {"about": about} | to_dict(r) for name, (about, r) in RECIPES.items()}
        return _answer(self.json, values, lambda: terminal.table(("recipe", "key", "what"), rows))


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
            _fields_table("dataset", "what", abouts)
            terminal.say(f"\nfull datasets are looked for in {data_root()}")

        return _answer(self.json, {"data_root": str(data_root()), "datasets": abouts}, show)


@dataclass(frozen=True, kw_only=True)
class Doctor:
    """Say what this machine has and what training will use."""

    json: bool = False
    """print the result as JSON, for bug reports"""

    def __call__(self) -> int:
        """Run the command."""
        from ganatomy.data import data_root, mnist
        from ganatomy.machine import environment, pick_device

        root = data_root()
        values: dict[str, Any] = environment() | {
            "device": str(pick_device("auto")),
            "data_root": str(root),
            "mnist": "present" if mnist.present(root) else "absent (mnist10k is part of ganatomy)",
            "free_disk_gb": round(shutil.disk_usage(Path.cwd()).free / 1e9, 1),
        }
        return _answer(self.json, values, lambda: _fields_table("what", "here", values))


def _run(folder: Path, recipe: Recipe, command: Train | Resume, longer: bool) -> int:
    """Train in a folder, showing it, and say how it ended."""

    def ticks() -> Iterator["Tick"]:  # imported inside, so that the bar shows while PyTorch loads
        from ganatomy import fit

        yield from fit.ticks(recipe, folder, command.options, longer)

    show = {"quiet": command.quiet, "stderr": command.json}
    try:
        last = terminal.follow(ticks(), folder.name, recipe.images_per_step, **show)
    except KeyboardInterrupt as stop:
        if not stop.args:  # before the first step, or a second Ctrl-C that did not want to wait
            raise
        terminal.complain(f"stopped and saved; go on with: ganatomy resume {folder}")
        return 128 + stop.args[0]
    result = {"run": str(folder), "step": last.step, "epoch": last.epoch, "key": recipe.key}
    result |= {name: float(value) for name, value in last.logs.items()}
    done = f"{folder}: complete at step {last.step:,}"
    return _answer(command.json, result, lambda: terminal.say(done))


def _plan(command: Train, folder: Path) -> int:
    """Say what a training would do, building the networks but writing nothing."""
    from ganatomy.fit import load_data
    from ganatomy.machine import pick_device
    from ganatomy.train import State

    data = load_data(command.recipe, command.options)
    device = pick_device(command.options.device)
    state = State.new(command.recipe, data.shape)
    counts = [
        sum(p.numel() for p in net.parameters()) for net in (state.generator, state.discriminator)
    ]
    total = command.recipe.total_steps(len(data))
    result = {
        "run": str(folder),
        "steps": total,
        "images": len(data),
        "shape": list(data.shape),
        "g_parameters": counts[0],
        "d_parameters": counts[1],
        "device": str(device),
        "recipe": to_dict(command.recipe),
        "options": to_dict(command.options),
    }
    plan = (
        f"would train {total:,} steps on {len(data):,} samples of shape {data.shape} on {device}; "
        f"G {counts[0]:,} and D {counts[1]:,} parameters; into {folder}; nothing written"
    )
    return _answer(command.json, result, lambda: terminal.say(plan))


def _answer(json: bool, result: dict[str, Any], show: Callable[[], None]) -> int:
    """Print a result as JSON or show it to a person."""
    if json:
        terminal.say(jsons.dumps(result, indent=2))
    else:
        show()
    return 0


def _fields_table(left: str, right: str, values: dict[str, Any]) -> None:
    terminal.table((left, right), [(name, str(value)) for name, value in values.items()])

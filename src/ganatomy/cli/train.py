"""Commands that train."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import OmitArgPrefixes, Positional, arg

from ganatomy.cli import terminal
from ganatomy.cli.output import answer
from ganatomy.recipes.named import RECIPES
from ganatomy.recipes.recipe import Recipe, RunOptions, differences
from ganatomy.validation import to_dict

if TYPE_CHECKING:
    from ganatomy.runs.folder import Run
    from ganatomy.training.loop import StepInfo


@dataclass(frozen=True, kw_only=True)
class Train:
    """Train a recipe; repeat the command to go on with a run that was stopped."""

    name: Annotated[Positional[str], arg(metavar="NAME|FILE")]
    """a named recipe (see: ganatomy recipes), or a .json or .toml file of recipe fields"""
    out: Path | None = None
    """run folder; by default runs/NAME-KEY"""
    dry_run: bool = False
    """say what would be trained, and stop"""
    log_style: Literal["bar", "dcgan"] = "bar"
    """a progress bar; or a line every log_every steps as in PyTorch's DCGAN example (R2.3)"""
    quiet: bool = False
    """show no progress"""
    json: bool = False
    """print the result as JSON"""
    recipe: OmitArgPrefixes[Recipe] = dataclasses.field(default=RECIPES["basic-gan"].recipe)
    options: Annotated[OmitArgPrefixes[RunOptions], arg(name="run")] = dataclasses.field(
        default=RunOptions()
    )

    def __call__(self) -> int:
        """Run the command."""
        folder = self.out or Path("runs") / f"{Path(self.name).stem}-{self.recipe.key}"
        if self.dry_run:
            return _plan(self, folder)
        return _run(folder, self.recipe, self, longer=False)


@dataclass(frozen=True, kw_only=True)
class Resume:
    """Go on with a run, to its planned end or a later one; or branch off it by another recipe."""

    run: Annotated[Positional[Path], arg(metavar="RUN")]
    """run folder"""
    from_step: Annotated[int | None, arg(name="from", metavar="STEP")] = None
    """go back to this checkpoint and on from there in another folder, which records its parent"""
    out: Path | None = None
    """folder of what --from begins; by default RUN-from-STEP"""
    log_style: Literal["bar", "dcgan"] = "bar"
    """as of: ganatomy train"""
    quiet: bool = False
    """show no progress"""
    json: bool = False
    """print the result as JSON"""
    recipe: OmitArgPrefixes[Recipe] = dataclasses.field(default=RECIPES["basic-gan"].recipe)
    options: Annotated[OmitArgPrefixes[RunOptions], arg(name="run")] = dataclasses.field(
        default=RunOptions()
    )

    def __call__(self) -> int:
        """Run the command."""
        from ganatomy.runs.folder import Run

        run = Run.open(self.run)
        if self.from_step is not None:
            return _branch(run, self.from_step, self)
        if self.out is not None:
            raise ValueError("--out is for a branch; say where it begins with --from STEP")
        changed = differences(run.recipe, self.recipe).keys() - {"epochs", "steps"}
        if changed:
            names = ", ".join(changed)
            raise ValueError(
                f"a run keeps its recipe, but for its length; to change {names}, branch off a "
                f"checkpoint of it with --from STEP"
            )
        return _run(self.run, self.recipe, self, longer=True)


def _branch(run: "Run", step: int, command: Resume) -> int:
    """Make the run that begins at another's checkpoint, and train it."""
    from ganatomy.runs.branch import branch

    folder = command.out or run.path.with_name(f"{run.path.name}-from-{step}")
    branch(run, step, command.recipe, command.options, folder)
    return _run(folder, command.recipe, command, longer=False)


def _run(folder: Path, recipe: Recipe, command: Train | Resume, longer: bool) -> int:
    """Train in a folder, showing it, and say how it ended."""

    def stepping() -> Iterator[
        "StepInfo"
    ]:  # imported inside, so that the bar shows while PyTorch loads
        from ganatomy.training import loop

        yield from loop.run_steps(recipe, folder, command.options, longer)

    try:
        last = terminal.follow(
            stepping(),
            folder.name,
            recipe.images_per_step,
            quiet=command.quiet,
            stderr=command.json,
            lines_every=command.options.log_every if command.log_style == "dcgan" else None,
        )
    except KeyboardInterrupt as stop:
        if not stop.args:  # before the first step, or a second Ctrl-C that did not want to wait
            raise
        terminal.complain(f"stopped and saved; go on with: ganatomy resume {folder}")
        return 128 + stop.args[0]
    result = {"run": str(folder), "step": last.step, "epoch": last.epoch, "key": recipe.key}
    result |= {name: float(value) for name, value in last.logs.items()}
    done = f"{folder}: complete at step {last.step:,}"
    return answer(command.json, result, lambda: terminal.say(done))


def _plan(command: Train, folder: Path) -> int:
    """Say what a training would do, building the networks but writing nothing."""
    from ganatomy.data import Size
    from ganatomy.gan.cost import cost, disk, memory
    from ganatomy.gan.machine import pick_device
    from ganatomy.gan.step import State
    from ganatomy.training.loop import load_data

    data = load_data(command.recipe, command.options)
    device = pick_device(command.options.device)
    state = State.new(command.recipe, data.shape)
    counts = [
        sum(p.numel() for p in net.parameters()) for net in (state.generator, state.discriminator)
    ]
    total, size = command.recipe.total_steps(len(data)), Size(len(data), data.shape)
    cost(state, command.recipe, measure=False)  # a step, after which optimisers hold what they will
    needed = disk(memory(state, size)["checkpoint"], command.recipe, size, command.options)
    result = {
        "run": str(folder),
        "steps": total,
        "images": len(data),
        "shape": list(data.shape),
        "g_parameters": counts[0],
        "d_parameters": counts[1],
        "device": str(device),
        "disk_bytes": needed,
        "recipe": to_dict(command.recipe),
        "options": to_dict(command.options),
    }
    plan = (
        f"would train {total:,} steps on {len(data):,} samples of shape {data.shape} on {device}; "
        f"G {counts[0]:,} and D {counts[1]:,} parameters; {needed / 1e6:,.1f} MB into "
        f"{folder}; nothing written"
    )
    return answer(command.json, result, lambda: terminal.say(plan))
